-- Moves the end of a lease, or gives it back.
-- KEYS: runs, due
-- ARGV: run, ticket, until
local run, ticket, to = unpack(ARGV, 1, 3)
local s = load(KEYS[1], run)
if not s then return {'lost'} end
if s.bad then return {'corrupt'} end
if s.turn ~= 'leased' or s.ticket ~= ticket then return {'lost'} end
redis.call('ZCARD', KEYS[2])
may(KEYS[2], 'ZADD', 'ZREM')
local old = place(s, run)
s.time = to
save(KEYS[1], run, s)
move(KEYS[2], old, place(s, run))
return {'held', s.head}
