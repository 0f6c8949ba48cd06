-- Keeps a session's record unless one of a greater generation is stored under the same connection.
--
-- KEYS: 1 the user's sessions
-- ARGV: 1 connection, 2 generation, 3 record, 4 TTL in ms
-- A stored record is: generation (8 bytes), when it was put in ms (8 bytes), record.
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored and struct.unpack('>I8', stored) > tonumber(ARGV[2]) then return 0 end
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[1], ARGV[1], struct.pack('>I8I8', tonumber(ARGV[2]), now_ms) .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
