-- Stores a durable event and sends it to the channel's followers, in one step.
--
-- KEYS: 1 meta, 2 history, 3 answers, 4 answer order, 5 pub/sub channel, 6 outbox,
--       7 pub/sub channel of the outbox's news
-- ARGV: 1 digest of the idempotency key, 2 tag, 3 payload, 4 history size, 5 history TTL in ms,
--       6 seed of an epoch, 7 version subject or "", 8 version, 9 source or "", 10 source offset,
--       11 source index, 12 outbox topic or "", 13 outbox key, 14 outbox bound, 15 event id, 16 channel
-- Answers {outcome, "epoch:offset:tag:timeMs"}; outcome: published, repeated, stale, outbox_full.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'tag', 'time', 'version:' .. ARGV[7], 'mark:' .. ARGV[9])

-- Answers of an epoch whose record was lost are void.
local answered = meta[1] and redis.call('HGET', KEYS[3], ARGV[1])
if answered then return {'repeated', answered} end

if ARGV[7] ~= '' and meta[5] and tonumber(ARGV[8]) <= tonumber(meta[5]) then return {'stale'} end

if ARGV[9] ~= '' and meta[6] then
  local offset, index = string.match(meta[6], '^(%d+):(%d+)$')
  offset, index = tonumber(offset), tonumber(index)
  local new_offset = tonumber(ARGV[10])
  if new_offset < offset or (new_offset == offset and tonumber(ARGV[11]) <= index) then
    return {'repeated', meta[1] .. ':' .. meta[2] .. ':' .. meta[3] .. ':' .. meta[4]}
  end
end

if ARGV[12] ~= '' and redis.call('XLEN', KEYS[6]) >= tonumber(ARGV[14]) then return {'outbox_full'} end

local time = redis.call('TIME')
local time_ms = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local epoch = meta[1]
if not epoch then
  -- What is left of an older epoch must not be mixed with the new one.
  redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
  epoch = string.format('%x%05x', tonumber(time[1]), tonumber(time[2])) .. ARGV[6]
end
local next_offset = (tonumber(meta[2]) or 0) + 1
local offset = string.format('%.0f', next_offset)
local answer = epoch .. ':' .. offset .. ':' .. ARGV[2] .. ':' .. time_ms

redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], offset .. '-0', 't', ARGV[2], 'p', ARGV[3])
local fields = {'epoch', epoch, 'offset', offset, 'tag', ARGV[2], 'time', time_ms}
if ARGV[7] ~= '' then
  fields[#fields + 1] = 'version:' .. ARGV[7]
  fields[#fields + 1] = ARGV[8]
end
if ARGV[9] ~= '' then
  fields[#fields + 1] = 'mark:' .. ARGV[9]
  fields[#fields + 1] = ARGV[10] .. ':' .. ARGV[11]
end
redis.call('HSET', KEYS[1], unpack(fields))

-- As many answers are kept as events: repeats are recognised within the history.
redis.call('HSET', KEYS[3], ARGV[1], answer)
if redis.call('RPUSH', KEYS[4], ARGV[1]) > tonumber(ARGV[4]) then
  redis.call('HDEL', KEYS[3], redis.call('LPOP', KEYS[4]))
end
for index = 2, 4 do redis.call('PEXPIRE', KEYS[index], ARGV[5]) end
-- The epoch outlives the history by a day: followers of a quiet channel shall not take its next event for a fork.
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', tonumber(ARGV[5]) + 86400000))

if ARGV[12] ~= '' then
  redis.call('XADD', KEYS[6], '*', 'topic', ARGV[12], 'key', ARGV[13], 'event', ARGV[15], 'channel', ARGV[16],
    'epoch', epoch, 'offset', offset, 'time', time_ms, 'payload', ARGV[3])
  redis.call('SPUBLISH', KEYS[7], '')
end

-- The envelope is described in channel/envelope-redis.ts.
redis.call('SPUBLISH', KEYS[5],
  struct.pack('>BBHI4I8B', 1, 1, 21 + #epoch, tonumber(ARGV[2]), next_offset, #epoch) .. epoch ..
  struct.pack('>I4', tonumber(meta[3]) or 0) .. ARGV[3])
return {'published', answer}
