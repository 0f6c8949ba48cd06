-- Takes a resumable session over for a connection and raises its generation.
--
-- KEYS: 1 the session's record, 2 the user's sessions by the time of their last save
-- ARGV: 1 session, 2 the token's generation, 3 connection, 4 the home's stamp, 5 TTL in ms
-- Answers {'gone'}, {'superseded'} by a later home, {'used'}, or {'resumed', generation, replaced connection, {field, value, …}}.
local stored = redis.call('HMGET', KEYS[1], 'generation', 'oldest', 'confirmed', 'connection', 'replaced', 'home')
if not stored[1] then return { 'gone' } end
if tonumber(ARGV[4]) < tonumber(stored[6]) then return { 'superseded' } end
local generation, token = tonumber(stored[1]), tonumber(ARGV[2])
local is_same_connection = stored[4] == ARGV[3]
local is_newest_due = stored[3] == '1' and not is_same_connection
local oldest = is_newest_due and generation or tonumber(stored[2])
if token < oldest then return { 'used' } end

local fields = redis.call('HGETALL', KEYS[1])
local next_generation = string.format('%.0f', math.max(generation, token) + 1)
-- Of a connection that resumes again, after its home died, the one before it is still the one to close.
local replaced = is_same_connection and stored[5] or stored[4]
redis.call('HSET', KEYS[1], 'generation', next_generation, 'oldest', ARGV[2], 'confirmed', '0',
  'connection', ARGV[3], 'replaced', replaced, 'home', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2])), ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return { 'resumed', next_generation, replaced, fields }
