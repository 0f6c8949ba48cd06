-- Draws tokens from a user's bucket, which fills steadily by Redis's clock.
--
-- KEYS: 1 the bucket
-- ARGV: 1 tokens of a full bucket, 2 ms in which an empty one fills, 3 tokens wanted
-- The bucket is stored as: tokens spent and not filled up again, ms since 1970 (two doubles). It lives until it
-- is full: a full one needs no key. A draw that gets nothing leaves it as it is, so that a bucket which a limit that
-- is no more left far below empty ends when it would have been full by that. The same steps in TypeScript: `token-bucket.ts`.
-- Returns tokens granted and thousandths of tokens left.
local count, window_ms, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local spent, is_ahead = 0, false
local stored = redis.call('GET', KEYS[1])
if stored then
  local spent_then, at_ms = struct.unpack('>dd', stored)
  -- After a fail-over Redis's clock may be behind: what was spent then fills up from now on.
  is_ahead = at_ms > now_ms
  spent = math.max(0, spent_then - math.max(0, now_ms - at_ms) * count / window_ms)
end
local left = count - spent
-- Sums of fractions come out a little below the whole token that they are.
local granted = math.max(0, math.min(wanted, math.floor(left + 1e-6)))
spent = spent + granted
if granted > 0 or is_ahead then
  local full_in_ms = math.max(1, math.ceil(spent * window_ms / count))
  redis.call('SET', KEYS[1], struct.pack('>dd', spent, now_ms), 'PX', string.format('%.0f', full_in_ms))
end
return { granted, math.floor((left - granted) * 1000) }
