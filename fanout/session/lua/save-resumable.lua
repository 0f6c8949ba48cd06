-- Saves what changed of a resumable session, unless a later home or connection of it has saved.
--
-- KEYS: 1 the session's record, 2 the user's sessions by the time of their last save
-- ARGV: 1 session, 2 generation, 3 '1' where it is confirmed, 4 connection, 5 the home's stamp, 6 TTL in ms,
--       7 sessions a user may have, 8 '1' where the save is whole, 9 the beginning of the records' keys,
--       then a channel and its cursor each; '-' removes it
-- Answers 'saved', 'missing', 'superseded', 'replaced' or 'removed'. Channels have a colon in their name, other fields none.
local stored = redis.call('HMGET', KEYS[1], 'generation', 'home', 'confirmed', 'oldest', 'replaced', 'removed')
if stored[6] then return 'removed' end
local exists, is_whole = stored[1], ARGV[8] == '1'
if not exists and not is_whole then return 'missing' end

local confirmed, oldest = ARGV[3], ARGV[2]
if exists then
  local generation = tonumber(stored[1])
  if generation > tonumber(ARGV[2]) then return 'replaced' end
  if generation == tonumber(ARGV[2]) then
    if tonumber(stored[2]) > tonumber(ARGV[5]) then return 'superseded' end
    if stored[3] == '1' then confirmed = '1' end
    oldest = stored[4]
  end
end

if is_whole then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'oldest', oldest, 'confirmed', confirmed,
  'connection', ARGV[4], 'replaced', stored[5] or '', 'home', ARGV[5])
for index = 10, #ARGV, 2 do
  if ARGV[index + 1] == '-' then redis.call('HDEL', KEYS[1], ARGV[index])
  else redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[6])

local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', now_us), ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
if not exists then
  local dead_us = now_us - tonumber(ARGV[6]) * 1000
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', dead_us))
  while redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[7]) do
    redis.call('DEL', ARGV[9] .. redis.call('ZPOPMIN', KEYS[2])[1])
  end
end
return 'saved'
