-- Widens what is known of each revoked subject, and says so to the fanouts where that was news.
--
-- KEYS: 1 revocations, 2 their versions, 3 their expiries, 4 mark, 5 pub/sub channel
-- ARGV: 1 seed of an epoch, 2 how many there may be; then of each: subject, issued before in ms, expiry in ms
-- A value is "issued before:expiry", the mark "epoch:version".
-- Answers 1 for each that is kept, 0 for each that is one too many.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function text(number) return string.format('%.0f', number) end

local expired = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', text(now_ms), 'LIMIT', 0, 1000)
if #expired > 0 then
  redis.call('HDEL', KEYS[1], unpack(expired))
  redis.call('ZREM', KEYS[2], unpack(expired))
  redis.call('ZREM', KEYS[3], unpack(expired))
end

local epoch, version = string.match(redis.call('GET', KEYS[4]) or '', '^(.*):(%d+)$')
epoch = epoch or ARGV[1]
version = tonumber(version or 0)
local before_version = version
local size = redis.call('HLEN', KEYS[1])
local outcomes = {}
for index = 3, #ARGV, 3 do
  local subject, issued_before, expires = ARGV[index], tonumber(ARGV[index + 1]), tonumber(ARGV[index + 2])
  local stored = redis.call('HGET', KEYS[1], subject)
  local is_news = expires > now_ms
  local outcome = 1
  if is_news and stored then
    local known_before, known_expires = string.match(stored, '^(%d+):(%d+)$')
    known_before, known_expires = tonumber(known_before), tonumber(known_expires)
    is_news = issued_before > known_before or expires > known_expires
    issued_before, expires = math.max(issued_before, known_before), math.max(expires, known_expires)
  elseif is_news and size >= tonumber(ARGV[2]) then
    is_news, outcome = false, 0
  elseif is_news then
    size = size + 1
  end
  if is_news then
    version = version + 1
    redis.call('HSET', KEYS[1], subject, text(issued_before) .. ':' .. text(expires))
    redis.call('ZADD', KEYS[2], text(version), subject)
    redis.call('ZADD', KEYS[3], text(expires), subject)
  end
  outcomes[#outcomes + 1] = outcome
end

if version > before_version then
  -- All of it lives as long as the last of what it holds.
  local last_ms = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
  redis.call('SET', KEYS[4], epoch .. ':' .. text(version))
  for index = 1, 4 do redis.call('PEXPIREAT', KEYS[index], text(tonumber(last_ms))) end
  redis.call('SPUBLISH', KEYS[5], text(version))
end
return outcomes
