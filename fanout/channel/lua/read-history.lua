-- Reads a page of a channel's history, and the epoch that it belongs to.
--
-- KEYS: 1 meta, 2 history
-- ARGV: 1 offset after which to read, 2 how many at most
-- Answers {epoch, {{id, {"t", tag, "p", payload}}, …}}.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then return {false, {}} end
return {epoch, redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])}
