-- Hides a closed run behind a tombstone, and says which streams are left to remove.
-- KEYS: runs, due, about, ids, log, spent, streams
-- ARGV: run, its head or '*', seconds that its id stays spent
local run, head, seconds = unpack(ARGV, 1, 3)
local s = load(KEYS[1], run)
local streams = redis.call('SMEMBERS', KEYS[7])
if not s then
  if redis.call('EXISTS', KEYS[6]) == 0 and #streams == 0 then return {'absent'} end
  return {'done', streams}
end
if s.bad then return {'corrupt'} end
if s.phase ~= 'closed' or (head ~= '*' and head ~= s.head) then return {'open'} end
redis.call('ZCARD', KEYS[2])
redis.call('HLEN', KEYS[3])
redis.call('ZCARD', KEYS[4])
redis.call('LLEN', KEYS[5])
may(KEYS[6], 'SET')
may(KEYS[2], 'ZADD', 'ZREM')
may(KEYS[5], 'UNLINK')

local old = place(s, run)
redis.call('HDEL', KEYS[1], run) -- first what a full memory does not refuse
redis.call('SET', KEYS[6], s.head, 'EX', seconds)
redis.call('HDEL', KEYS[3], run)
redis.call('ZREM', KEYS[4], run)
redis.call('UNLINK', KEYS[5])
-- With streams left it stands among the closed, and so is found if this is cut short.
move(KEYS[2], old, #streams > 0 and '00003' .. '000000000000000' .. run or nil)
tell(KEYS[5])
return {'done', streams}
