-- Reads the changes of an offer that are not delivered yet, with what their events are made of.
--
-- KEYS: 1 offer, 2 its undelivered changes by revision
-- Answers {template, candidates, seed, {revision, facts, …}}.
local offer = redis.call('HMGET', KEYS[1], 'template', 'candidates', 'seed')
return { offer[1], offer[2], offer[3], redis.call('HGETALL', KEYS[2]) }
