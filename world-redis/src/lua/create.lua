-- Makes a run.
-- KEYS: runs, due, about, ids, log, spent, streams
-- ARGV: run, its state, what never changes of it, channel of queues, the least time of this server at
--   which its lease may be given, or nothing; the records
local run, state, about, ready, least = unpack(ARGV, 1, 5)
local first = 6
if redis.call('EXISTS', KEYS[6]) == 1 then return {'not open'} end
local old = load(KEYS[1], run)
local length = redis.call('LLEN', KEYS[5])
if old then
  if old.bad or tonumber(old.head) ~= length then return {'corrupt'} end
  if length > #ARGV - first and same(KEYS[5], 0, first) then
    return {'committed', old.head}
  end
  if old.phase == 'closed' then return {'not open'} end
  return {'conflict', old.head}
end
if length > 0 then return {'corrupt'} end
-- An earlier run of this name is still being removed.
if redis.call('EXISTS', KEYS[7]) == 1 then return {'not open'} end
-- A lease by a clock that is far ahead. One that is behind makes a lease that ends early.
if least ~= '' then
  local server = server_time()
  if server < tonumber(least) then return {'ahead', server} end
end
redis.call('ZCARD', KEYS[2])
redis.call('HLEN', KEYS[3])
redis.call('ZCARD', KEYS[4])
may(KEYS[1], 'HSET')
may(KEYS[2], 'ZADD')

local s = parse(state)
redis.call('RPUSH', KEYS[5], unpack(ARGV, first))
save(KEYS[1], run, s)
redis.call('HSET', KEYS[3], run, about)
redis.call('ZADD', KEYS[4], 0, run)
move(KEYS[2], nil, place(s, run))
if s.turn == 'ready' then tell(ready .. s.queue) end
tell(KEYS[5])
return {'committed', s.head}
