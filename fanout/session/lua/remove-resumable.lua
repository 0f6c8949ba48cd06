-- Removes a session's record for resumes.
--
-- KEYS: 1 the record, 2 the user's index
-- ARGV: 1 the record's part in the index
-- Answers 1 where there was one, else 0.
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
