-- Signs a partition that has no sentinel, and marks one as being rebuilt whose data were lost.
--
-- KEYS: 1 the sentinel: "id:time", the time (ms since 1970) from which its directory is complete, or 0
-- ARGV: 1 the id that was known of the partition, or "", 2 an id for a new sentinel, 3 how long it is rebuilt in ms
-- Answers {sentinel, now in ms}.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local complete_at = string.format('%.0f', now_ms + tonumber(ARGV[3]))
local sentinel = redis.call('GET', KEYS[1])
local id, marked = string.match(sentinel or '', '^(%x+):(%d+)$')
if not id then
  sentinel = ARGV[2] .. ':' .. (ARGV[1] == '' and '0' or complete_at)
  redis.call('SET', KEYS[1], sentinel)
elseif ARGV[1] ~= '' and id ~= ARGV[1] and marked == '0' then
  -- Somebody who came after the loss signed it for an empty one.
  sentinel = id .. ':' .. complete_at
  redis.call('SET', KEYS[1], sentinel)
end
return {sentinel, string.format('%.0f', now_ms)}
