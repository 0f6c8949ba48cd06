-- Writes who takes part, in a channel's record or in a user's index.
--
-- KEYS: 1 the record or the index, 2 its version, 3 the partition's sentinel
-- ARGV: 1 field (user or channel), 2 relation, "-" for an end, 3 expiry in ms since 1970, 4 stamp or "",
--       5 how long a directory that was lost is being rebuilt in ms
-- The stamp says which of two writes came last. The record makes it (Redis time in µs); the index takes it and
-- ignores a write that is older than what it has. A value is "relation:expiry:stamp".
-- Answers {sentinel, now in ms, stamp}.
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now_us / 1000)
local now_text = string.format('%.0f', now_ms)
local sentinel = redis.call('GET', KEYS[3])
local stored = redis.call('HGET', KEYS[1], ARGV[1])
local stored_stamp = stored and tonumber(string.match(stored, ':(%d+)$')) or 0

local stamp = tonumber(ARGV[4])
if stamp then
  if stamp < stored_stamp then return {sentinel, now_text, ARGV[4]} end
else
  -- Redis's clock may be set back; the order of writes may not.
  stamp = math.max(now_us, stored_stamp + 1)
end
local stamp_text = string.format('%.0f', stamp)

local expires_ms = tonumber(ARGV[3])
if ARGV[2] == '-' then
  -- What ended stays for a minute, so that an older grant that comes late does not revive it; and until the directory
  -- is complete, because until then only this says that there is no part.
  local complete_ms = sentinel and tonumber(string.match(sentinel, ':(%d+)$')) or now_ms + tonumber(ARGV[5])
  expires_ms = math.max(now_ms, complete_ms) + 60000
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. string.format('%.0f', expires_ms) .. ':' .. stamp_text)
-- The key lives as long as the last of what it holds.
local key_expires_ms = math.max(expires_ms, now_ms + 60000)
if redis.call('PEXPIRETIME', KEYS[1]) < key_expires_ms then
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', key_expires_ms))
end
-- Never the same again, also after it has expired.
local version = math.max(now_us, (tonumber(redis.call('GET', KEYS[2])) or 0) + 1)
redis.call('SET', KEYS[2], string.format('%.0f', version), 'PXAT', string.format('%.0f', redis.call('PEXPIRETIME', KEYS[1])))
return {sentinel, now_text, stamp_text}
