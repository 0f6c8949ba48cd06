-- Makes a lease last longer where the holder still has it.
--
-- KEYS: 1 lease
-- ARGV: 1 holder, 2 lifetime in ms
-- Answers 1 where the holder has it.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
