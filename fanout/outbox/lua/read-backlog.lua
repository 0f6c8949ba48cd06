-- Says how much waits in a partition's outbox, and how old the oldest is.
--
-- KEYS: 1 outbox
-- Answers {count, age in ms}.
local count = redis.call('XLEN', KEYS[1])
if count == 0 then return {0, 0} end
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- The first half of an id is Redis's time when it was added.
return {count, math.max(0, now_ms - tonumber(string.match(oldest[1], '^(%d+)')))}
