-- What a shard keeps of a run, as one text: its head, the kind of its last record, open or closed,
-- its claims since its last progress, its turn with a time and a ticket, and its queue.
local phases = {open = true, closed = true}
local turns = {ready = true, leased = true, waiting = true, parked = true}

local function parse(text)
  local s = {}
  s.head, s.last, s.phase, s.attempt, s.turn, s.time, s.ticket, s.queue =
    string.match(text, '^(%d+) (%d+) (%a+) (%d+) (%a+) (%d+) (%S+) (.+)$')
  s.bad = not (s.head and phases[s.phase] and turns[s.turn] and #s.time == 15
    and #s.head <= 15 and #s.last <= 5 and #s.attempt <= 10)
  return s
end

local function load(runs, run)
  local text = redis.call('HGET', runs, run)
  return text and parse(text)
end

local function save(runs, run, s)
  redis.call('HSET', runs, run, table.concat(
    {s.head, s.last, s.phase, s.attempt, s.turn, s.time, s.ticket, s.queue}, ' '))
end

-- A run's place in the index of due runs: queue, class, time, run. A closed run that wants nobody
-- stands in no queue, by the time from which it is kept; another that wants nobody stands nowhere.
local classes = {ready = '1', leased = '2', waiting = '2'}

local function place(s, run)
  local class = classes[s.turn]
  if class then return string.format('%04x', #s.queue) .. s.queue .. class .. s.time .. run end
  if s.phase == 'closed' then return '00003' .. s.time .. run end
end

local function move(due, old, new)
  if old ~= new then
    if new then redis.call('ZADD', due, 0, new) end
    if old then redis.call('ZREM', due, old) end
  end
end

-- The state of a run that stands at this place of the index; otherwise nothing, and whether the
-- place is nobody's.
local function fitting(runs, member, run)
  local s = load(runs, run)
  if not s then return nil, true end
  if s.bad then return nil, false end
  if place(s, run) ~= member then return nil, true end
  return s
end

-- The runs from ARGV[at + 1] on that a claim excepts, as many as ARGV[at] says, and the index of what
-- follows them.
local function excepted(at)
  local runs, last = {}, at + tonumber(ARGV[at])
  for i = at + 1, last do runs[ARGV[i]] = true end
  return runs, last + 1
end

-- A head that is stored by itself, as a number; nothing if it is none.
local function number(text)
  return #text <= 15 and string.match(text, '^%d+$') and tonumber(text)
end

-- The server's time in milliseconds.
local function server_time()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The server's time, from which a closed run is kept.
local function now()
  return string.format('%015.0f', server_time())
end

-- The server's time, if it differs from a claim's by more than this many milliseconds; otherwise
-- false. Nothing is compared where the claim says no number.
local function clock_off(after, most)
  if most == '' then return false end
  local server = server_time()
  return math.abs(server - (tonumber(after) - 1)) > tonumber(most) and server
end

-- Whether the records from ARGV[first] on stand in the log after this many. Bodies are unique, so
-- the first that differs is nearly always the first.
local function same(log, before, first)
  for i = first, #ARGV do
    if redis.call('LINDEX', log, before + i - first) ~= ARGV[i] then return false end
  end
  return true
end

-- Stops a script before its first write if the user may not do all that comes after it: Redis undoes
-- nothing. Opening has tried it all, but a right can be taken away. Redis 6.2 cannot be asked.
local function may(key, ...)
  for _, command in ipairs(redis.acl_check_cmd and {...} or {}) do
    if not redis.acl_check_cmd(command, key) then error({err = 'NOPERM ' .. command}) end
  end
end

-- Tells those who wait. The last thing a script does, and nothing rests on it.
local function tell(channel)
  redis.pcall('PUBLISH', channel, '')
end
