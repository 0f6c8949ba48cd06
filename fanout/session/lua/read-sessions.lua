-- Reads a user's sessions and the time.
--
-- KEYS: 1 the user's sessions
-- Answers {now in ms, {connection, record, …}}.
local time = redis.call('TIME')
return {
  string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)),
  redis.call('HGETALL', KEYS[1]),
}
