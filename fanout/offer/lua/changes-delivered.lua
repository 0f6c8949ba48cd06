-- Removes changes of an offer that were delivered. An offer that is over and has no more of them lives on for a bounded
-- time, so that repeats are answered.
--
-- KEYS: 1 offer, 2 its undelivered changes, 3 offers with such by the time of the oldest
-- ARGV: 1 "app/offer", 2 how long it is kept after its end in ms, then the revisions
redis.call('HDEL', KEYS[2], unpack(ARGV, 3))
local time = redis.call('TIME')
if redis.call('HLEN', KEYS[2]) > 0 then
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', now), ARGV[1])
  return 0
end
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('HGET', KEYS[1], 'state') ~= 'open' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
