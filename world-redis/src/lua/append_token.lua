-- Appends to a token's log.
-- KEYS: log, base
-- ARGV: expected head, head after, touch; the records
local expected, after, touch = unpack(ARGV, 1, 3)
local first = 4
local base = number(redis.call('GET', KEYS[2]) or '0')
if not base then return {'corrupt'} end
local length = redis.call('LLEN', KEYS[1])
local head = string.format('%.0f', base + length)
local before = tonumber(expected) - base
if before >= 0 and tonumber(after) <= base + length and same(KEYS[1], before, first) then
  if touch == '1' then redis.call('LSET', KEYS[1], 0, redis.call('LINDEX', KEYS[1], 0)) end
  return {'committed', head}
end
if expected ~= head then return {'conflict', head} end
may(KEYS[2], 'PERSIST')

redis.call('RPUSH', KEYS[1], unpack(ARGV, first))
redis.call('PERSIST', KEYS[2])
tell(KEYS[1])
return {'committed', after}
