-- Removes each session's record unless one of a greater generation is stored.
--
-- KEYS: 1 the user's sessions
-- ARGV: connection and generation of each
for index = 1, #ARGV, 2 do
  local stored = redis.call('HGET', KEYS[1], ARGV[index])
  if stored and struct.unpack('>I8', stored) <= tonumber(ARGV[index + 1]) then
    redis.call('HDEL', KEYS[1], ARGV[index])
  end
end
return 1
