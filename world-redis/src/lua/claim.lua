-- Takes leases on due runs of a shard: the ready and the timed in turn, each oldest first.
-- KEYS: runs, due
-- ARGV: ticket, the time after now, until, the most leases, whether the timed go first, by how much
--   now may differ from the server's time; how many timed runs are passed over, and these; the queues
-- Gives the leases; and before them the server's time if now differs from it by more: then none.
local ticket, after, to, limit, timed_first, most = unpack(ARGV, 1, 6)
local except, first_queue = excepted(7)
local server = clock_off(after, most)
if server then return {server, {}} end
limit = tonumber(limit)
local chosen, stale = {}, {}

-- A queue's due runs of a class, one at a time. What has no state that fits is passed over: one
-- whose state cannot be read stays where it is, in nobody's way; what is not there at all goes. Of
-- the timed, what the claim excepts is not even looked at.
local function due(queue, class, last)
  local start = string.format('%04x', #queue) .. queue
  local members, at, offset = {}, 0, 0
  return function()
    while true do
      at = at + 1
      if at > #members then
        if offset > 0 and #members < 16 then return nil end
        members = redis.call('ZRANGEBYLEX', KEYS[2],
          '[' .. start .. class, '(' .. start .. last, 'LIMIT', offset, 16)
        at, offset = 1, offset + 16
        if #members == 0 then return nil end
      end
      local member = members[at]
      local run = member:sub(#start + 17)
      local s, is_stale
      if class ~= '2' or not except[run] then s, is_stale = fitting(KEYS[1], member, run) end
      if s then return {run = run, s = s, place = member, age = s.time .. run} end
      if is_stale then stale[#stale + 1] = member end
    end
  end
end

-- The oldest of all queues, one at a time.
local function oldest(class, last)
  local nexts, firsts = {}, {}
  for q = first_queue, #ARGV do
    local n = #nexts + 1
    nexts[n] = due(ARGV[q], class, last)
    firsts[n] = nexts[n]() or false
  end
  return function()
    local best
    for n, first in ipairs(firsts) do
      if first and (not best or first.age < firsts[best].age) then best = n end
    end
    if not best then return nil end
    local found = firsts[best]
    firsts[best] = nexts[best]() or false
    return found
  end
end

local one, other = oldest('1', '2'), oldest('2', '2' .. after)
if timed_first == '1' then one, other = other, one end
local left = 2
while #chosen < limit and left > 0 do
  local found = one()
  if found then
    chosen[#chosen + 1], left = found, 2
  else
    left = left - 1
  end
  one, other = other, one
end

may(KEYS[2], 'ZADD', 'ZREM')
local leases = {}
for i, found in ipairs(chosen) do
  local run, s = found.run, found.s
  s.attempt = string.format('%.0f', math.min(tonumber(s.attempt) + 1, 4294967295))
  s.turn, s.time, s.ticket = 'leased', to, ticket
  save(KEYS[1], run, s)
  move(KEYS[2], found.place, place(s, run))
  leases[i] = {run, s.attempt, s.head, s.phase}
end
for _, member in ipairs(stale) do redis.call('ZREM', KEYS[2], member) end
return {false, leases}
