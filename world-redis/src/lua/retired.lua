-- The closed runs of a shard that have been kept as long as they are to be, by their places.
-- KEYS: due
-- ARGV: milliseconds that they are kept, the most runs, the place after which to go on or nothing
local before = string.format('%015.0f', math.max(0, tonumber(now()) - tonumber(ARGV[1])))
local from = ARGV[3] == '' and '[00003' or '(' .. ARGV[3]
return redis.call('ZRANGEBYLEX', KEYS[1], from, '(00003' .. before, 'LIMIT', 0, ARGV[2])
