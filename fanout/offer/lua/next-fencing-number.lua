-- Draws a fencing number of a subject: greater than each one drawn before. It is not below Redis's time in
-- microseconds, so that it goes on growing also where the last one was forgotten or lost.
--
-- KEYS: 1 the last number
-- ARGV: 1 how long it is remembered in ms
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local number = string.format('%.0f', math.max(now_us, (tonumber(redis.call('GET', KEYS[1])) or 0) + 1))
redis.call('SET', KEYS[1], number, 'PX', ARGV[1])
return number
