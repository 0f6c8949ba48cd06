-- Finds workers in the index of a cell, the nearest first.
--
-- KEYS: 1 the places, 2 the versions
-- ARGV: 1 lifetime of an entry in ms, 2 longitude, 3 latitude, 4 radius in m, 5 how many at most
-- Answers pairs of worker and distance. Entries whose version is older than their lifetime go first.
if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local now = redis.call('TIME')
local oldest = string.format('%.0f', now[1] * 1000000 + now[2] - ARGV[1] * 1000)
local expired = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', oldest, 'LIMIT', 0, 1000)
if #expired > 0 then
  redis.call('ZREM', KEYS[1], unpack(expired))
  redis.call('ZREM', KEYS[2], unpack(expired))
end
return redis.call('GEOSEARCH', KEYS[1], 'FROMLONLAT', ARGV[2], ARGV[3], 'BYRADIUS', ARGV[4], 'm',
  'ASC', 'COUNT', ARGV[5], 'WITHDIST')
