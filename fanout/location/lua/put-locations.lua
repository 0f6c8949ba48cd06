-- Keeps each location that is newer than the stored one.
--
-- KEYS: one for each worker, all in one partition
-- ARGV: 1 TTL in ms, then version and payload for each key
-- A stored location is: version (8 bytes), payload.
for index, key in ipairs(KEYS) do
  local version, payload = tonumber(ARGV[2 * index]), ARGV[2 * index + 1]
  local stored = redis.call('GETRANGE', key, 0, 7)
  if stored == '' or struct.unpack('>I8', stored) < version then
    redis.call('SET', key, struct.pack('>I8', version) .. payload, 'PX', ARGV[1])
  end
end
return 1
