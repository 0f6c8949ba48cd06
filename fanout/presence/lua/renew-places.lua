-- Notes that places live.
--
-- KEYS: 1 the places by the time of their last renewal
-- ARGV: the places
local time = redis.call('TIME')
local now_ms = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
for _, place in ipairs(ARGV) do redis.call('ZADD', KEYS[1], now_ms, place) end
return 1
