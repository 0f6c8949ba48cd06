-- Keeps a session's record as `put-session.lua` does, and reads the user's others in the same moment where there are
-- many of them.
--
-- KEYS: 1 the user's sessions
-- ARGV: 1 connection, 2 generation, 3 record, 4 TTL in ms, 5 how many others are many
-- Answers {now in ms, {connection, record, …}}; the list is empty where the others are fewer.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if not stored or struct.unpack('>I8', stored) <= tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], ARGV[1], struct.pack('>I8I8', tonumber(ARGV[2]), now_ms) .. ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local others = {}
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[5]) then others = redis.call('HGETALL', KEYS[1]) end
return {string.format('%.0f', now_ms), others}
