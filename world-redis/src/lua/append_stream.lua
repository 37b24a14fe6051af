-- Appends to a stream of a run.
-- KEYS: runs, stream, streams
-- ARGV: run, ticket, expected head, head after, stream's name; the records
local run, ticket, expected, after, name = unpack(ARGV, 1, 5)
local first = 6
local s = load(KEYS[1], run)
if not s then return {'not open'} end
if s.bad then return {'corrupt'} end
local length = redis.call('LLEN', KEYS[2])
local head = string.format('%.0f', length)
if tonumber(after) <= length and same(KEYS[2], tonumber(expected), first) then
  return {'committed', head}
end
if s.phase == 'closed' then return {'not open'} end
if s.turn ~= 'leased' or s.ticket ~= ticket then return {'fenced'} end
if expected ~= head then return {'conflict', head} end
redis.call('SCARD', KEYS[3])
may(KEYS[3], 'SADD')

redis.call('RPUSH', KEYS[2], unpack(ARGV, first))
if length == 0 then redis.call('SADD', KEYS[3], name) end
tell(KEYS[2])
return {'committed', after}
