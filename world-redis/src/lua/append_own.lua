-- Appends records to a run's log where all is as its owner believes and the turn goes on: most of
-- what a run ever appends, so that it reads and writes as little as can be. Answers nothing, and
-- has changed nothing, where append.lua has to decide.
-- KEYS: runs, log
-- ARGV: run, expected head, ticket, the state after it up to its turn; the records
local state = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local head, turn, ticket = string.match(state, '^(%d+) %d+ open %d+ (leased %d+ (%S+) .+)$')
if head ~= ARGV[2] or ticket ~= ARGV[3] or redis.call('LLEN', KEYS[2]) ~= tonumber(head) then
  return false
end
if redis.acl_check_cmd and not redis.acl_check_cmd('HSET', KEYS[1]) then return false end
redis.call('RPUSH', KEYS[2], unpack(ARGV, 5))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4] .. turn)
return 1
