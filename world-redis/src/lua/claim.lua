-- Takes leases on due runs of a shard: the ready and the timed in turn, each oldest first.
-- KEYS: runs, due
-- ARGV: ticket, the time after now, until, the most leases, whether the timed go first; the queues
local ticket, after, to, limit, timed_first = unpack(ARGV, 1, 5)
limit = tonumber(limit)

-- The due runs of a class. One whose state cannot be read stays where it is, in nobody's way.
local function candidates(class, last)
  local found, seen = {}, {}
  for q = 6, #ARGV do
    local start = string.format('%04x', #ARGV[q]) .. ARGV[q]
    local good, offset = 0, 0
    repeat
      local members = redis.call('ZRANGEBYLEX', KEYS[2],
        '[' .. start .. class, '(' .. start .. last, 'LIMIT', offset, limit)
      for _, member in ipairs(members) do
        local run = member:sub(#start + 17)
        local s = load(KEYS[1], run)
        if s and not s.bad and not seen[run] and place(s, run) == member then
          seen[run] = true
          good = good + 1
          found[#found + 1] = {run = run, s = s, place = member, age = s.time .. run}
        end
      end
      offset = offset + #members
    until good >= limit or #members < limit
  end
  table.sort(found, function(a, b) return a.age < b.age end)
  return found
end

local one, other = candidates('1', '2'), candidates('2', '2' .. after)
if timed_first == '1' then one, other = other, one end
local chosen = {}
for i = 1, limit do
  if one[i] then chosen[#chosen + 1] = one[i] end
  if other[i] then chosen[#chosen + 1] = other[i] end
end

may(KEYS[2], 'ZADD', 'ZREM')
local leases = {}
for i = 1, math.min(limit, #chosen) do
  local run, s = chosen[i].run, chosen[i].s
  s.attempt = string.format('%.0f', math.min(tonumber(s.attempt) + 1, 4294967295))
  s.turn, s.time, s.ticket = 'leased', to, ticket
  save(KEYS[1], run, s)
  move(KEYS[2], chosen[i].place, place(s, run))
  leases[i] = {run, s.attempt, s.head, s.phase}
end
return leases
