-- The last of a deleted run: its streams are gone, and so it need not be found again.
-- KEYS: due, streams
-- ARGV: places among the closed runs
redis.call('ZCARD', KEYS[1])
may(KEYS[1], 'ZREM')
redis.call('UNLINK', KEYS[2])
redis.call('ZREM', KEYS[1], unpack(ARGV))
return {'done'}
