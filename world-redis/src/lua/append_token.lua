-- Appends to a token's log.
-- KEYS: log, base
-- ARGV: expected head, head after; the records
local expected, after = unpack(ARGV, 1, 2)
local first = 3
local base = number(redis.call('GET', KEYS[2]) or '0')
if not base then return {'corrupt'} end
local length = redis.call('LLEN', KEYS[1])
local head = string.format('%.0f', base + length)
local before = tonumber(expected) - base
if before >= 0 and tonumber(after) <= base + length and same(KEYS[1], before, first) then
  return {'committed', head}
end
if expected ~= head then return {'conflict', head} end
may(KEYS[2], 'PERSIST')

redis.call('RPUSH', KEYS[1], unpack(ARGV, first))
redis.call('PERSIST', KEYS[2])
tell(KEYS[1])
return {'committed', after}
