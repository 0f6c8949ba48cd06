-- Begins a new epoch with an empty history where the stored position is still the one that was found to be forked.
--
-- KEYS: 1 meta, 2 history
-- ARGV: 1 epoch, 2 offset and 3 tag of the forked position, 4 seed of an epoch
-- Answers {epoch, offset, tag} as they are then.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'tag')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] or meta[3] ~= ARGV[3] then return meta end
redis.call('UNLINK', KEYS[2])
local time = redis.call('TIME')
local epoch = string.format('%x%05x', tonumber(time[1]), tonumber(time[2])) .. ARGV[4]
redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', '0', 'tag', '0')
return {epoch, '0', '0'}
