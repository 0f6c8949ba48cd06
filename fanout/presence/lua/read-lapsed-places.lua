-- Reads the places that were not renewed for a while.
--
-- KEYS: 1 the places by the time of their last renewal
-- ARGV: 1 for how long in ms, 2 how many at most
-- Answers {place, renewed at in ms, …}.
local time = redis.call('TIME')
local latest_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) - tonumber(ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', latest_ms), 'WITHSCORES', 'LIMIT', 0, ARGV[2])
