-- Keeps a latest value where its version is greater than the stored one that still lives, and sends it.
--
-- KEYS: 1 latest, 2 pub/sub channel
-- ARGV: 1 field, 2 version, 3 TTL in ms, 4 header of the message, 5 payload, 6 how many values at most
-- A stored value is: version (8 bytes), expiry in ms (8 bytes), payload. Answers 1 where it was kept.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if stored then
  local version, expires_ms = struct.unpack('>I8I8', stored)
  if tonumber(ARGV[2]) <= version and expires_ms > now_ms then return 0 end
else
  -- Values that nobody replaces are swept a few at a time; at the bound a random one makes room.
  local count = redis.call('HLEN', KEYS[1])
  if count >= 8 then
    local sample = redis.call('HRANDFIELD', KEYS[1], 2, 'WITHVALUES')
    local is_full = count >= tonumber(ARGV[6])
    for index = 1, #sample, 2 do
      local _, expires_ms = struct.unpack('>I8I8', sample[index + 1])
      if is_full or expires_ms <= now_ms then
        redis.call('HDEL', KEYS[1], sample[index])
        is_full = false
      end
    end
  end
end
local ttl_ms = tonumber(ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], struct.pack('>I8I8', tonumber(ARGV[2]), now_ms + ttl_ms) .. ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SPUBLISH', KEYS[2], ARGV[4] .. ARGV[5])
return 1
