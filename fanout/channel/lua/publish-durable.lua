-- Stores a durable event and sends it to the channel's followers, in one step.
--
-- KEYS: 1 meta, 2 history, 3 answers, 4 answer order, 5 pub/sub channel, 6 outbox,
--       7 pub/sub channel of the outbox's news, 8 chat
-- ARGV: 1 digest of the idempotency key, 2 tag, 3 payload, 4 history size, 5 history TTL in ms,
--       6 seed of an epoch, 7 version subject or "", 8 version, 9 source or "", 10 source offset,
--       11 source index, 12 outbox topic or "", 13 outbox key, 14 outbox bound, 15 event id, 16 channel,
--       17 digest of a second idempotency key or "", 18 digest of the key that excludes this event or "",
--       19 body of a message, 20 what the message's id begins with, or "" where it is none, 21 how long the
--       channel's messages are counted, in ms, 22 how many subjects' versions are known
-- Of a message, 3 is the event without its body: see channel/numbered-message.ts.
-- Answers {outcome, "epoch:offset:tag:timeMs", of a message with ":number"}; outcome: published, repeated, stale,
-- excluded, outbox_full.
local function varint(number)
  local bytes = ''
  while number >= 128 do
    bytes = bytes .. string.char(number % 128 + 128)
    number = math.floor(number / 128)
  end
  return bytes .. string.char(number)
end

local meta = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'tag', 'time', 'version:' .. ARGV[7], 'mark:' .. ARGV[9])

-- Answers of an epoch whose record was lost are void.
local answered = meta[1] and redis.call('HGET', KEYS[3], ARGV[1])
if not answered and ARGV[17] ~= '' then answered = meta[1] and redis.call('HGET', KEYS[3], ARGV[17]) end
if answered then return {'repeated', answered} end

if ARGV[18] ~= '' and meta[1] and redis.call('HEXISTS', KEYS[3], ARGV[18]) == 1 then return {'excluded'} end

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

local payload = ARGV[3]
if ARGV[20] ~= '' then
  local number = redis.call('HINCRBY', KEYS[8], 'count', 1)
  redis.call('PEXPIRE', KEYS[8], ARGV[21])
  local id = ARGV[20] .. string.gsub(epoch, '~', '-') .. '.' .. offset .. '.' .. string.format('%.0f', number)
  local body = ARGV[19] .. '\010' .. varint(#id) .. id .. '\040' .. varint(number)
  payload = payload .. '\202\001' .. varint(#body) .. body
  answer = answer .. ':' .. string.format('%.0f', number)
end

-- Exactly so many: a message whose deletion is forgotten with its answer could be edited otherwise.
redis.call('XADD', KEYS[2], 'MAXLEN', '=', ARGV[4], offset .. '-0', 't', ARGV[2], 'p', payload)
local fields = {'epoch', epoch, 'offset', offset, 'tag', ARGV[2], 'time', time_ms}
if ARGV[7] ~= '' then
  -- A channel that never falls silent must not collect the versions of all that was ever told in it. Which of them
  -- is forgotten is chance: of so many, few change any more.
  if not meta[5] and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[22]) then
    for _, field in ipairs(redis.call('HRANDFIELD', KEYS[1], 8)) do
      if string.sub(field, 1, 8) == 'version:' then
        redis.call('HDEL', KEYS[1], field)
        break
      end
    end
  end
  fields[#fields + 1] = 'version:' .. ARGV[7]
  fields[#fields + 1] = ARGV[8]
end
if ARGV[9] ~= '' then
  fields[#fields + 1] = 'mark:' .. ARGV[9]
  fields[#fields + 1] = ARGV[10] .. ':' .. ARGV[11]
end
redis.call('HSET', KEYS[1], unpack(fields))

-- As many answers are kept as events: repeats are recognised within the history. Two keys of one event stand
-- behind each other in one entry of the order.
redis.call('HSET', KEYS[3], ARGV[1], answer)
if ARGV[17] ~= '' then redis.call('HSET', KEYS[3], ARGV[17], answer) end
if redis.call('RPUSH', KEYS[4], ARGV[1] .. ARGV[17]) > tonumber(ARGV[4]) then
  local forgotten = redis.call('LPOP', KEYS[4])
  redis.call('HDEL', KEYS[3], string.sub(forgotten, 1, 16))
  if #forgotten > 16 then redis.call('HDEL', KEYS[3], string.sub(forgotten, 17)) end
end
for index = 2, 4 do redis.call('PEXPIRE', KEYS[index], ARGV[5]) end
-- The epoch outlives the history by a day: followers of a quiet channel shall not take its next event for a fork.
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', tonumber(ARGV[5]) + 86400000))

if ARGV[12] ~= '' then
  redis.call('XADD', KEYS[6], '*', 'topic', ARGV[12], 'key', ARGV[13], 'event', ARGV[15], 'channel', ARGV[16],
    'epoch', epoch, 'offset', offset, 'time', time_ms, 'payload', payload)
  redis.call('SPUBLISH', KEYS[7], '')
end

-- The envelope is described in channel/envelope-redis.ts.
redis.call('SPUBLISH', KEYS[5],
  struct.pack('>BBHI4I8B', 1, 1, 21 + #epoch, tonumber(ARGV[2]), next_offset, #epoch) .. epoch ..
  struct.pack('>I4', tonumber(meta[3]) or 0) .. payload)
return {'published', answer}
