-- Reads a channel's position and its latest values together.
--
-- KEYS: 1 meta, 2 latest
-- Answers {epoch, offset, tag, now in ms, {field, value, …}}.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'tag')
local time = redis.call('TIME')
return {
  meta[1], meta[2], meta[3],
  string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)),
  redis.call('HGETALL', KEYS[2]),
}
