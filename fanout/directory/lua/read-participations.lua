-- Reads everyone who takes part, or everything that a user takes part in; sweeps what has expired.
--
-- KEYS: 1 the record or the index, 2 its version, 3 the partition's sentinel
-- ARGV: 1 (optional) the only field to read
-- Answers {sentinel, now in ms, version, {field, "relation:expiry:stamp", …}} of those that live, and of those that
-- ended lately (relation "-").
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local found
if ARGV[1] then
  found = {ARGV[1], redis.call('HGET', KEYS[1], ARGV[1])}
else
  found = redis.call('HGETALL', KEYS[1])
end
local living, expired = {}, {}
for index = 1, #found, 2 do
  local value = found[index + 1]
  if value then
    local expires_ms = string.match(value, '^[^:]+:(%d+):')
    if tonumber(expires_ms) <= now_ms then
      if #expired < 100 then expired[#expired + 1] = found[index] end
    else
      living[#living + 1] = found[index]
      living[#living + 1] = value
    end
  end
end
if #expired > 0 then redis.call('HDEL', KEYS[1], unpack(expired)) end
return {redis.call('GET', KEYS[3]), string.format('%.0f', now_ms), redis.call('GET', KEYS[2]), living}
