-- The last of a deleted run: its streams are gone, and so it need not be found again.
-- KEYS: due, streams
-- ARGV: run
redis.call('ZCARD', KEYS[1])
may(KEYS[1], 'ZREM')
redis.call('UNLINK', KEYS[2])
redis.call('ZREM', KEYS[1], '00003000000000000000' .. ARGV[1])
return {'done'}
