-- The closed runs of a shard that have been kept as long as they are to be.
-- KEYS: due
-- ARGV: milliseconds that they are kept, the most runs
local before = string.format('%015.0f', math.max(0, tonumber(now()) - tonumber(ARGV[1])))
local found = {}
local members = redis.call('ZRANGEBYLEX', KEYS[1], '[00003', '(00003' .. before, 'LIMIT', 0, ARGV[2])
for i, member in ipairs(members) do found[i] = member:sub(21) end
return found
