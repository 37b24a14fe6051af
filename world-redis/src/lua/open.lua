-- Makes the store, or says how it was made; and tries every command that a script uses, so that a
-- user who may not use one is refused here, before anything is kept.
-- KEYS: meta, three scratch keys
-- ARGV: layout, shards if it has to be made
local meta, list, sorted, text = unpack(KEYS)
local layout, shards = redis.call('HGET', meta, 'layout'), redis.call('HGET', meta, 'shards')
redis.call('UNLINK', list, sorted, text)
local refused
for _, command in ipairs({
  {'RPUSH', list, 'a'},
  {'LRANGE', list, 0, 0},
  {'LINDEX', list, 0},
  {'LLEN', list},
  {'ZADD', sorted, 0, 'a'},
  {'ZCARD', sorted},
  {'ZRANGEBYLEX', sorted, '-', '+', 'LIMIT', 0, 1},
  {'ZREM', sorted, 'a'},
  {'SADD', sorted, 'a'},
  {'SMEMBERS', sorted},
  {'SCARD', sorted},
  {'EXISTS', sorted},
  {'SET', text, 'a', 'EX', 60},
  {'GET', text},
  {'PERSIST', text},
  {'UNLINK', text},
  {'HSET', text, 'a', 'a'},
  {'HEXISTS', text, 'a'},
  {'HGET', text, 'a'},
  {'HLEN', text},
  {'HDEL', text, 'a'},
  {'TIME'},
  {'PUBLISH', text, ''},
}) do
  local answer = redis.pcall(unpack(command))
  if type(answer) == 'table' and answer.err then refused = refused or answer end
end
redis.call('UNLINK', list, sorted, text)
if refused then return refused end
if redis.call('EXISTS', meta) == 0 then
  layout, shards = ARGV[1], ARGV[2]
  redis.call('HSET', meta, 'layout', layout, 'shards', shards)
end
return {layout, shards}
