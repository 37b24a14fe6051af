-- Makes the store, or says how it was made; and tries every command that a script writes with, so
-- that a user who may not use one is refused here and not in the middle of a write.
-- KEYS: meta, three scratch keys
-- ARGV: layout, shards if it has to be made
local meta, list, sorted, text = unpack(KEYS)
redis.call('UNLINK', list, sorted, text)
redis.call('RPUSH', list, 'a')
redis.call('LRANGE', list, 0, 0)
redis.call('LINDEX', list, 0)
redis.call('LLEN', list)
redis.call('ZADD', sorted, 0, 'a')
redis.call('ZCARD', sorted)
redis.call('ZRANGEBYLEX', sorted, '-', '+', 'LIMIT', 0, 1)
redis.call('ZREM', sorted, 'a')
redis.call('SADD', sorted, 'a')
redis.call('SMEMBERS', sorted)
redis.call('SCARD', sorted)
redis.call('SET', text, 'a', 'EX', 60)
redis.call('GET', text)
redis.call('PERSIST', text)
redis.call('UNLINK', list, sorted, text)
redis.call('HSET', text, 'a', 'a')
redis.call('HEXISTS', text, 'a')
redis.call('HGET', text, 'a')
redis.call('HLEN', text)
redis.call('HDEL', text, 'a')
redis.call('UNLINK', text)
redis.call('TIME')
redis.call('PUBLISH', text, '')

if redis.call('EXISTS', meta) == 0 then
  redis.call('HSET', meta, 'layout', ARGV[1], 'shards', ARGV[2])
end
return {redis.call('HGET', meta, 'layout'), redis.call('HGET', meta, 'shards')}
