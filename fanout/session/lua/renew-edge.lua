-- Renews an edge's lease. The key outlives the lease by a grace time, so that an edge whose lease has just
-- lapsed can be told from one that is long gone.
--
-- KEYS: 1 the lease
-- ARGV: 1 lease in ms, 2 grace in ms
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease_ms = tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', now_ms + lease_ms), 'PX',
  string.format('%.0f', lease_ms + tonumber(ARGV[2])))
return 1
