-- Changes a user's presence: one of its connections comes or goes, a grace ends, or an announcement is confirmed.
--
-- KEYS: 1 the user's state, 2 the user's connections, 3 what is due in the partition, 4 users online by app
-- ARGV: 1 what, 2 subject, 3 app, 4 lifetime in ms, 5 in how many ms an announcement is due again; behind it
--   connect: 6 connection, 7 generation, 8 place, 9 beginning of the keys of places, 10 connections at most
--   disconnect: 6 to 9 as above, 10 grace in ms, 11 when it was last there in ms, or ''
--   available: 6 '1' or '0', 7 since when in µs
--   settle: nothing more
--   announced: 6 version
-- A user is 'online', 'leaving' (the last connection is gone, the grace is not over) or 'offline'. A connection is
-- "generation:place". Answers {1 online or 0, last seen, available or '', version} to announce, or nil.
local what, subject = ARGV[1], ARGV[2]
local state = redis.call('HMGET', KEYS[1], 'state', 'seen', 'version', 'told', 'available', 'available-at', 'stays')
local status, version, told = state[1] or 'offline', state[3], state[4]
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now_us / 1000)

local function due_in(ms)
  redis.call('ZADD', KEYS[3], string.format('%.0f', now_ms + tonumber(ms)), subject)
end

local function become(next_status)
  local was_offline, is_offline = status == 'offline', next_status == 'offline'
  if was_offline ~= is_offline and redis.call('HINCRBY', KEYS[4], ARGV[3], is_offline and -1 or 1) <= 0 then
    redis.call('HDEL', KEYS[4], ARGV[3])
  end
  status = next_status
  redis.call('HSET', KEYS[1], 'state', status)
end

local function answer()
  return { status == 'offline' and 0 or 1, state[2] or '0', state[5] or '', version or '0' }
end

local function changed()
  version = string.format('%.0f', math.max(now_us, (tonumber(version) or 0) + 1))
  redis.call('HSET', KEYS[1], 'version', version)
  -- Who is leaving is due at the end of the grace.
  if status ~= 'leaving' then due_in(ARGV[5]) end
  return answer()
end

local function keep()
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end

if what == 'settle' then
  local due = redis.call('ZSCORE', KEYS[3], subject)
  if not due or tonumber(due) > now_ms then return false end
  if status == 'leaving' then
    become('offline')
    return changed()
  end
  if version and told ~= version then
    due_in(ARGV[5])
    return answer()
  end
  redis.call('ZREM', KEYS[3], subject)
  return false
end

if what == 'announced' then
  if version ~= ARGV[6] then return false end
  redis.call('HSET', KEYS[1], 'told', version)
  if status ~= 'leaving' then redis.call('ZREM', KEYS[3], subject) end
  return false
end

if what == 'available' then
  -- A clock that is ahead must not keep what other devices say from being the last word.
  local since_us = math.min(tonumber(ARGV[7]), now_us)
  if state[6] and tonumber(state[6]) >= since_us then return false end
  redis.call('HSET', KEYS[1], 'available', ARGV[6], 'available-at', string.format('%.0f', since_us))
  keep()
  local is_same = state[5] == ARGV[6]
  state[5] = ARGV[6]
  if is_same or status == 'offline' then return false end
  return changed()
end

local connection, generation, place = ARGV[6], tonumber(ARGV[7]), ARGV[8]
local held = subject .. '\n' .. connection
local stored = redis.call('HGET', KEYS[2], connection)
local stored_generation, stored_place
if stored then
  stored_generation, stored_place = string.match(stored, '^(%d+):(.*)$')
  if tonumber(stored_generation) > generation then return false end
end

if what == 'connect' then
  if not stored and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[10]) then return false end
  if stored and stored_place ~= place then redis.call('HDEL', ARGV[9] .. stored_place, held) end
  redis.call('HSET', KEYS[2], connection, ARGV[7] .. ':' .. place)
  redis.call('HSET', ARGV[9] .. place, held, ARGV[7])
  redis.call('PEXPIRE', ARGV[9] .. place, ARGV[4])
  local before = status
  if before ~= 'online' then become('online') end
  keep()
  if before == 'offline' then return changed() end
  if before == 'leaving' then
    if version == told then redis.call('ZREM', KEYS[3], subject) else due_in(ARGV[5]) end
  end
  return false
end

-- disconnect
redis.call('HDEL', ARGV[9] .. place, held)
if not stored then return false end
redis.call('HDEL', ARGV[9] .. stored_place, held)
redis.call('HDEL', KEYS[2], connection)
-- Of several devices the one counts that was last there, also where the end of another is found out later.
local seen_ms = math.max(ARGV[11] ~= '' and tonumber(ARGV[11]) or now_ms, tonumber(state[2]) or 0)
state[2] = string.format('%.0f', seen_ms)
local stays_ms = tonumber(state[7]) or 0
if tonumber(ARGV[10]) > 0 then stays_ms = now_ms + tonumber(ARGV[10]) end
redis.call('HSET', KEYS[1], 'seen', state[2], 'stays', string.format('%.0f', stays_ms))
keep()
if redis.call('HLEN', KEYS[2]) > 0 or status ~= 'online' then return false end
if stays_ms > now_ms then
  become('leaving')
  due_in(stays_ms - now_ms)
  return false
end
become('offline')
return changed()
