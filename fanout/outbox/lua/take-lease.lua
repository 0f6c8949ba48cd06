-- Takes a lease that nobody has, or that the holder has already.
--
-- KEYS: 1 lease
-- ARGV: 1 holder, 2 lifetime in ms
-- Answers 1 where the holder has it.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
