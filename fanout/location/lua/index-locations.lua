-- Puts workers into the index of a cell, or takes them out of one that they have left.
--
-- KEYS: two for each change, all in one partition: 1 the places, 2 the versions
-- ARGV: 1 lifetime of an entry in ms, then for each change longitude, latitude, version, worker;
--       an empty longitude takes the worker out
-- An older version changes nothing. Entries whose version is older than their lifetime go, some with each change.
local now = redis.call('TIME')
local oldest = now[1] * 1000000 + now[2] - ARGV[1] * 1000

for index = 1, #KEYS / 2 do
  local places, versions = KEYS[2 * index - 1], KEYS[2 * index]
  local base = 4 * index - 2
  local longitude, latitude, version, worker = ARGV[base], ARGV[base + 1], ARGV[base + 2], ARGV[base + 3]
  local known = redis.call('ZSCORE', versions, worker)
  local is_news = not known or tonumber(known) < tonumber(version)
  if longitude == '' then
    if known and is_news then
      redis.call('ZREM', places, worker)
      redis.call('ZREM', versions, worker)
    end
  elseif is_news then
    redis.call('GEOADD', places, longitude, latitude, worker)
    redis.call('ZADD', versions, version, worker)
    redis.call('PEXPIRE', places, ARGV[1])
    redis.call('PEXPIRE', versions, ARGV[1])
    local expired = redis.call('ZRANGEBYSCORE', versions, '-inf', string.format('%.0f', oldest), 'LIMIT', 0, 10)
    if #expired > 0 then
      redis.call('ZREM', places, unpack(expired))
      redis.call('ZREM', versions, unpack(expired))
    end
  end
end
return 1
