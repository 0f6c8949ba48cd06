-- Removes a session's record for resumes. For a while it is known that it was: a save that was under way makes none.
--
-- KEYS: 1 the record, 2 the user's index
-- ARGV: 1 the record's part in the index, 2 for how long that is known in ms
-- Answers 1 where there was one, else 0.
if redis.call('HEXISTS', KEYS[1], 'generation') == 0 then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'removed', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
