-- Which of these queues have a due run in a shard: a ready one, or one whose time has come.
-- KEYS: runs, due
-- ARGV: the time after now, or nothing where only the ready count; by how much now may differ from the
--   server's time; how many timed runs do not count, and these; the queues
local after, most = unpack(ARGV, 1, 2)
local except, first = excepted(3)
-- A claim by a clock that is off is to be sent, so that it is refused.
if clock_off(after, most) then return 1 end

-- Whether a class has one whose state can be read; a claim has no use for another.
local function has_one(start, class, last)
  local from, to, offset = '[' .. start .. class, '(' .. start .. last, 0
  repeat
    local members = redis.call('ZRANGEBYLEX', KEYS[2], from, to, 'LIMIT', offset, 8)
    for _, member in ipairs(members) do
      local run = member:sub(#start + 17)
      local is_passed = class == '2' and except[run]
      if not is_passed and fitting(KEYS[1], member, run) then return true end
    end
    offset = offset + #members
  until #members < 8
  return false
end

for q = first, #ARGV do
  local start = string.format('%04x', #ARGV[q]) .. ARGV[q]
  if has_one(start, '1', '2') or (after ~= '' and has_one(start, '2', '2' .. after)) then
    return 1
  end
end
return 0
