-- Reads a page of a channel's history, and the epoch that it belongs to.
--
-- KEYS: 1 meta, 2 history
-- ARGV: 1 "after" (oldest first) or "before" (newest first), 2 the offset that is not read any more, or "" for
--       none, 3 how many at most
-- Answers {epoch, {{id, {"t", tag, "p", payload}}, …}}.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then return {false, {}} end
local bound = ARGV[2] ~= '' and '(' .. ARGV[2] .. '-0'
if ARGV[1] == 'after' then
  return {epoch, redis.call('XRANGE', KEYS[2], bound or '-', '+', 'COUNT', ARGV[3])}
end
return {epoch, redis.call('XREVRANGE', KEYS[2], bound or '+', '-', 'COUNT', ARGV[3])}
