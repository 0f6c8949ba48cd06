-- Reads revocations that were added or widened behind a version, oldest first, a page at a time.
--
-- KEYS: 1 revocations, 2 their versions, 3 mark
-- ARGV: 1 epoch, 2 version, 3 how many at most
-- Answers {epoch, version, whole, {subject, value, version, …}}; whole is 1 where the given epoch is over or the
-- given version is ahead, and the page then begins at the first.
local epoch, version = string.match(redis.call('GET', KEYS[3]) or '', '^(.*):(%d+)$')
epoch, version = epoch or '', version or '0'
local after, whole = ARGV[2], 0
if epoch ~= ARGV[1] or tonumber(version) < tonumber(after) then after, whole = '0', 1 end
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local page = {}
for index = 1, #found, 2 do
  page[#page + 1] = found[index]
  page[#page + 1] = redis.call('HGET', KEYS[1], found[index])
  page[#page + 1] = found[index + 1]
end
return {epoch, version, whole, page}
