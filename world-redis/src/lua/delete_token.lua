-- Deletes a token's log at its stated head, and keeps the head.
-- KEYS: log, base
-- ARGV: head, seconds that it is kept
local length = redis.call('LLEN', KEYS[1])
local base = redis.call('GET', KEYS[2])
if length == 0 then return {base and 'done' or 'absent'} end
local head = number(base or '0')
if not head then return {'corrupt'} end
head = string.format('%.0f', head + length)
if ARGV[1] ~= head then return {'open'} end
may(KEYS[2], 'SET')
redis.call('UNLINK', KEYS[1]) -- first what a full memory does not refuse
redis.call('SET', KEYS[2], head, 'EX', ARGV[2])
tell(KEYS[1])
return {'done'}
