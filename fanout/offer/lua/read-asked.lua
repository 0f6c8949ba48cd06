-- Reads what a user was asked about and whose time is not over.
--
-- KEYS: 1 the offers that the user was asked about, by when their time is over
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
