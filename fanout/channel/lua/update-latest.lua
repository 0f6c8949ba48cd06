-- Keeps latest values, each where its version is greater than the stored one that still lives, and sends them.
--
-- KEYS: for each value: latest, pub/sub channel
-- ARGV: 1 how many values a channel keeps at most; then for each value: field, version, TTL in ms, length of the
--       message's header, message. What stands behind the header is the payload.
-- A stored value is: version (8 bytes), expiry in ms (8 bytes), payload. Answers how many were kept.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local max_values = tonumber(ARGV[1])

-- Values that nobody replaces are swept a few at a time; at the bound a random one makes room.
local function make_room(key)
  local count = redis.call('HLEN', key)
  if count < 8 then return end
  local sample = redis.call('HRANDFIELD', key, 2, 'WITHVALUES')
  local is_full = count >= max_values
  for index = 1, #sample, 2 do
    local _, expires_ms = struct.unpack('>I8I8', sample[index + 1])
    if is_full or expires_ms <= now_ms then
      redis.call('HDEL', key, sample[index])
      is_full = false
    end
  end
end

local kept = 0
for value = 1, #KEYS / 2 do
  local key = KEYS[value * 2 - 1]
  local first = value * 5 - 3
  local field, version, ttl_ms = ARGV[first], tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
  local stored = redis.call('HGET', key, field)
  local is_newer = true
  if stored then
    local stored_version, expires_ms = struct.unpack('>I8I8', stored)
    is_newer = version > stored_version or expires_ms <= now_ms
  else
    make_room(key)
  end
  if is_newer then
    local message = ARGV[first + 4]
    local payload = string.sub(message, tonumber(ARGV[first + 3]) + 1)
    redis.call('HSET', key, field, struct.pack('>I8I8', version, now_ms + ttl_ms) .. payload)
    redis.call('PEXPIRE', key, ttl_ms)
    redis.call('SPUBLISH', KEYS[value * 2], message)
    kept = kept + 1
  end
end
return kept
