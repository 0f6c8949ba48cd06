-- Removes changes of an offer that were delivered. An offer that is over and has no more of them lives on for a bounded
-- time, so that repeats are answered: for as long after its deadline too, however early it ended, since the event that
-- made it may be read again, and would make it anew.
--
-- KEYS: 1 offer, 2 its undelivered changes, 3 offers with such by the time of the oldest
-- ARGV: 1 "app/offer", 2 how long it is kept after its end in ms, then the revisions
redis.call('HDEL', KEYS[2], unpack(ARGV, 3))
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if redis.call('HLEN', KEYS[2]) > 0 then
  redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', now), ARGV[1])
  return 0
end
redis.call('ZREM', KEYS[3], ARGV[1])
local offer = redis.call('HMGET', KEYS[1], 'state', 'deadline')
if offer[1] ~= 'open' then
  local until_deadline = math.max(0, (tonumber(offer[2]) or 0) - now)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', tonumber(ARGV[2]) + until_deadline))
end
return 1
