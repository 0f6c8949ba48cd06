-- Finds offers that time alone changes by now, and offers whose changes have waited for delivery for too long; and
-- counts those that are open.
--
-- KEYS: for each partition: open offers by their next deadline, offers with undelivered changes by the oldest's time
-- ARGV: 1 what is too long in ms, 2 how many of each in one partition at most
-- Answers {{"app/offer", …} that are due, {"app/offer", …} that are undelivered, how many are open}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found = { {}, {}, 0 }
for index = 1, #KEYS do
  local list = found[(index - 1) % 2 + 1]
  local until_ms = index % 2 == 1 and now or now - tonumber(ARGV[1])
  local members = redis.call('ZRANGEBYSCORE', KEYS[index], '-inf', string.format('%.0f', until_ms), 'LIMIT', 0, ARGV[2])
  if index % 2 == 1 then found[3] = found[3] + redis.call('ZCARD', KEYS[index]) end
  for _, member in ipairs(members) do list[#list + 1] = member end
end
return found
