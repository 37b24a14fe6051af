-- Appends to a run's log, by its owner or an outsider.
-- KEYS: runs, due, about, log
-- ARGV: run, the owner's ticket or nothing, expected head, head after, kind of the last record,
--   whether it closes, the turn after it or nothing, its time, whether the run was driven, the tags
--   or '-', channel of queues; the records
local run, ticket, expected, after, last, closes, turn, time, driven, tags, ready = unpack(ARGV, 1, 11)
local first = 12
local has_records = #ARGV >= first
local s = load(KEYS[1], run)
if not s then return {'not open'} end
local length = redis.call('LLEN', KEYS[4])
if s.bad or tonumber(s.head) ~= length then return {'corrupt'} end
if has_records and tonumber(after) <= length and same(KEYS[4], tonumber(expected), first) then
  return {'committed', s.head}
end
if has_records and s.phase == 'closed' then return {'not open'} end
if ticket ~= '' and (s.turn ~= 'leased' or s.ticket ~= ticket) then return {'fenced'} end
if expected ~= s.head then return {'conflict', s.head} end

local old = place(s, run)
if has_records then s.head, s.last = after, last end
if driven ~= '1' then
  s.attempt = string.format('%.0f', math.max(tonumber(s.attempt) - 1, 0))
elseif turn ~= '' then
  s.attempt = '0'
elseif has_records and ticket ~= '' then
  s.attempt = '1'
end
if closes == '1' then s.phase = 'closed' end
if ticket == '' then
  if s.turn == 'waiting' or s.turn == 'parked' then s.turn, s.time, s.ticket = 'ready', time, '-' end
elseif turn ~= '' then
  s.turn, s.time, s.ticket = turn, time, '-'
  if turn == 'parked' and s.phase == 'closed' then s.time = now() end
end
local new = place(s, run)
local about
if tags ~= '-' then
  about = redis.call('HGET', KEYS[3], run) or ''
  local rest = 2 + 16 * (about:byte(1) or 255)
  if rest > #about then return {'corrupt'} end
  about = tags .. about:sub(rest)
end
may(KEYS[1], 'HSET')
if old ~= new then
  redis.call('ZCARD', KEYS[2])
  may(KEYS[2], 'ZADD', 'ZREM')
end

if has_records then redis.call('RPUSH', KEYS[4], unpack(ARGV, first)) end
save(KEYS[1], run, s)
move(KEYS[2], old, new)
if about then redis.call('HSET', KEYS[3], run, about) end
if old ~= new and s.turn == 'ready' then tell(ready .. s.queue) end
if has_records and (ticket == '' or closes == '1') then tell(KEYS[4]) end
return {'committed', s.head}
