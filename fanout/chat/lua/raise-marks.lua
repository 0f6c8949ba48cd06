-- Raises how far a user has got and read a channel's messages. Marks only grow: see chat/mark.ts.
--
-- KEYS: 1 chat
-- ARGV: 1 how long they are kept in ms, 2 the users of a two-person conversation (JSON) or "", 3 user or "", 4 number
--       of the message, 5 "1": all before it too, 6 "1": read, else delivered, 7 how many single numbers are kept in
--       a mark, 8 how many users have marks at most, 9 … users whose standing is wanted
-- The chat is a hash: count (of messages), pair, marked (how many users have marks), and for each user
-- delivered:<user> and read:<user>, each "12 14 17": up to 12, and 14 and 17.
-- Answers {outcome, count, pair, marked, delivered, read, …} with two marks for each wanted user; outcome: raised,
-- unknown (there is no such message), full.
local chat = KEYS[1]
local number, max_singles = tonumber(ARGV[4]), tonumber(ARGV[7])
local known = redis.call('HMGET', chat, 'count', 'marked')
local count, marked = tonumber(known[1]) or 0, tonumber(known[2]) or 0

local function write(mark)
  for index = 1, #mark do mark[index] = string.format('%.0f', mark[index]) end
  return table.concat(mark, ' ')
end

-- Answers the mark with what is at or below it taken in, and what is next to it.
local function closed(up_to, singles)
  local mark = {up_to}
  for _, single in ipairs(singles) do
    if #mark == 1 and single <= mark[1] + 1 then
      mark[1] = math.max(mark[1], single)
    else
      mark[#mark + 1] = single
    end
  end
  return mark
end

local function raise(field)
  local stored = redis.call('HGET', chat, field)
  local up_to, singles, is_known = 0, {}, false
  for word in string.gmatch(stored or '0', '%d+') do
    local value = tonumber(word)
    if not is_known then up_to = value else singles[#singles + 1] = value end
    is_known = true
  end
  if number <= up_to and stored then return end
  if ARGV[5] == '1' then
    up_to = math.max(up_to, number)
  elseif number > up_to then
    local at = #singles + 1
    for index, single in ipairs(singles) do
      if single == number then return end
      if single > number then
        at = index
        break
      end
    end
    table.insert(singles, at, number)
    if #singles > max_singles then up_to = singles[1] end
  end
  redis.call('HSET', chat, field, write(closed(up_to, singles)))
end

local outcome = 'raised'
if ARGV[3] ~= '' then
  local is_marked = redis.call('HEXISTS', chat, 'delivered:' .. ARGV[3]) == 1
  if number > count then
    outcome = 'unknown'
  elseif not is_marked and marked >= tonumber(ARGV[8]) then
    outcome = 'full'
  else
    if not is_marked then marked = redis.call('HINCRBY', chat, 'marked', 1) end
    -- What is read is delivered.
    raise('delivered:' .. ARGV[3])
    if ARGV[6] == '1' then raise('read:' .. ARGV[3]) end
  end
end
if ARGV[2] ~= '' then redis.call('HSET', chat, 'pair', ARGV[2]) end
redis.call('PEXPIRE', chat, ARGV[1])

local answer = {outcome, count, redis.call('HGET', chat, 'pair'), marked}
for index = 9, #ARGV do
  answer[#answer + 1] = redis.call('HGET', chat, 'delivered:' .. ARGV[index])
  answer[#answer + 1] = redis.call('HGET', chat, 'read:' .. ARGV[index])
end
return answer
