-- Runs of a shard in the order of their ids, each with its state and what never changes of it.
-- KEYS: ids, runs, about
-- ARGV: run after which or nothing, the most runs
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local found = {}
for i, run in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, ARGV[2])) do
  found[i] = {run, redis.call('HGET', KEYS[2], run), redis.call('HGET', KEYS[3], run)}
end
return found
