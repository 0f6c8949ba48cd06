-- Raises which notifications of a channel a user has seen. Marks only grow within an epoch: see chat/mark.ts.
--
-- KEYS: 1 seen
-- ARGV: 1 the channel's field, 2 epoch, 3 offset, 4 "1": all before it too, 5 how long marks are kept in ms, 6 how many
--       single offsets are kept in a mark, 7 how many channels have marks at most
-- The hash holds "<when in ms> <epoch> 12 14 17" for each channel (up to 12, and 14 and 17), and `version`.
-- Answers {version, the channel's mark as it is stored}.
local seen, field, epoch = KEYS[1], ARGV[1], ARGV[2]
local number = tonumber(ARGV[3])
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = string.format('%.0f', math.floor(now_us / 1000))

local up_to, singles = 0, {}
local stored = redis.call('HGET', seen, field)
if stored then
  local words = {}
  for word in string.gmatch(stored, '%S+') do words[#words + 1] = word end
  if words[2] == epoch then
    up_to = tonumber(words[3])
    for index = 4, #words do singles[#singles + 1] = tonumber(words[index]) end
  end
end

if number > up_to then
  if ARGV[4] == '1' then
    up_to = number
  else
    local at = #singles + 1
    for index, single in ipairs(singles) do
      if single >= number then
        at = index
        break
      end
    end
    if singles[at] ~= number then table.insert(singles, at, number) end
    if #singles > tonumber(ARGV[6]) then up_to = singles[1] end
  end
end

-- What is at or below the mark is taken in, and what is next to it moves it.
local mark = {up_to}
for _, single in ipairs(singles) do
  if #mark == 1 and single <= mark[1] + 1 then
    mark[1] = math.max(mark[1], single)
  else
    mark[#mark + 1] = single
  end
end
for index = 1, #mark do mark[index] = string.format('%.0f', mark[index]) end
local value = now_ms .. ' ' .. epoch .. ' ' .. table.concat(mark, ' ')

local version = math.max((tonumber(redis.call('HGET', seen, 'version')) or 0) + 1, now_us)
version = string.format('%.0f', version)
redis.call('HSET', seen, field, value, 'version', version)
redis.call('PEXPIRE', seen, ARGV[5])

if redis.call('HLEN', seen) - 1 > tonumber(ARGV[7]) then
  local oldest, oldest_ms
  local all = redis.call('HGETALL', seen)
  for index = 1, #all, 2 do
    if all[index] ~= 'version' and all[index] ~= field then
      local at = tonumber(string.match(all[index + 1], '^%d+'))
      if oldest == nil or at < oldest_ms then oldest, oldest_ms = all[index], at end
    end
  end
  redis.call('HDEL', seen, oldest)
end
return {version, value}
