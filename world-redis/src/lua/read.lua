-- A page of a log: its head, its base, and records up to about 1 MiB.
-- KEYS: log; of a run also runs and spent, of a stream runs, of a token base
-- ARGV: run, stream or token; run; position after which; the most records
local kind, run, after, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local length, base = redis.call('LLEN', KEYS[1]), 0
local head
if kind == 'run' then
  local s = load(KEYS[2], run)
  if not s then
    local spent = redis.call('GET', KEYS[3]) or '0'
    if not number(spent) then return {'', '0', {}} end
    return {spent, spent, {}}
  end
  if s.bad then return {'', '0', {}} end
  head = s.head
elseif kind == 'stream' then
  if redis.call('HEXISTS', KEYS[2], run) == 0 then return {'0', '0', {}} end
  head = string.format('%.0f', length)
else
  base = number(redis.call('GET', KEYS[2]) or '0')
  if not base then return {'', '0', {}} end
  head = string.format('%.0f', base + length)
end

-- A few at a time: the next may be as long as a record can be.
local records, bytes, most = {}, 0, 1048576
local at = math.max(after, base) - base
while at < length and #records < limit and bytes < most do
  local part = redis.call('LRANGE', KEYS[1], at, at + math.min(16, limit - #records) - 1)
  for _, record in ipairs(part) do
    bytes = bytes + #record + 32
    if bytes > most and #records > 0 then break end
    records[#records + 1] = record
  end
  at = at + #part
end
return {head, string.format('%.0f', base), records}
