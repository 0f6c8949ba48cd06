-- Changes a user's memberships in a channel: a connection joins or leaves, a grace ends, or an announcement is
-- confirmed.
--
-- KEYS: 1 memberships by user, 2 the members in order, 3 what is due in the partition
-- ARGV: 1 what, 2 subject, 3 user, 4 lifetime in ms, 5 in how many ms an announcement is due again,
--   6 up to how many members joined and left are told; behind it
--   join: 7 connection, 8 generation, 9 place, 10 beginning of the keys of places, 11 session, 12 members at most,
--     13 memberships of a user at most
--   leave: 7 to 10 as above, 11 grace in ms
--   settle: nothing more
--   announced: 7 name, 8 stamp, 9 '1' for joined, '0' for left
-- A user's memberships are a JSON list of {n: the connection that joined, v: stamp, c: the connection now, s: session,
-- g: generation, p: place, d: when the grace ends, j: joined is not confirmed, e: it has ended and left is not
-- confirmed, r: when they are announced again}; times in ms. Answers {'1' joined or '0' left, name, stamp, …}.
local what, subject, user = ARGV[1], ARGV[2], ARGV[3]
local told_up_to = tonumber(ARGV[6])
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now_us / 1000)
local stored = redis.call('HGET', KEYS[1], user)
local memberships = stored and cjson.decode(stored) or {}
local announcements = {}

local function announce(membership)
  local function say(has_joined)
    announcements[#announcements + 1] = has_joined
    announcements[#announcements + 1] = membership.n
    announcements[#announcements + 1] = membership.v
  end
  if membership.j then say('1') end
  if membership.e then say('0') end
  if membership.j or membership.e then membership.r = now_ms + tonumber(ARGV[5]) end
end

-- The place does not hold its connection any more.
local function unhold(membership)
  if membership.p then redis.call('HDEL', ARGV[10] .. membership.p, subject .. '\n' .. membership.c) end
  membership.p = nil
end

local function finish(membership)
  membership.d = nil
  if membership.j or redis.call('ZCARD', KEYS[2]) <= told_up_to then
    membership.e = true
    announce(membership)
  else
    membership.gone = true
  end
end

local function save()
  local kept, is_member, due = {}, false, nil
  for _, membership in ipairs(memberships) do
    if not membership.gone then
      kept[#kept + 1] = membership
      is_member = is_member or not membership.e
      local at = membership.d or membership.r
      if membership.d and membership.r then at = math.min(membership.d, membership.r) end
      if at and (not due or at < due) then due = at end
    end
  end
  if is_member then redis.call('ZADD', KEYS[2], 0, user) else redis.call('ZREM', KEYS[2], user) end
  if #kept > 0 then redis.call('HSET', KEYS[1], user, cjson.encode(kept)) else redis.call('HDEL', KEYS[1], user) end
  if due then redis.call('ZADD', KEYS[3], string.format('%.0f', due), subject)
  else redis.call('ZREM', KEYS[3], subject) end
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  return announcements
end

if what == 'settle' then
  local due = redis.call('ZSCORE', KEYS[3], subject)
  if not due or tonumber(due) > now_ms then return announcements end
  for _, membership in ipairs(memberships) do
    if membership.d and membership.d <= now_ms then finish(membership)
    elseif membership.r and membership.r <= now_ms then announce(membership) end
  end
  return save()
end

if what == 'announced' then
  for _, membership in ipairs(memberships) do
    if membership.n == ARGV[7] and membership.v == ARGV[8] then
      if ARGV[9] == '0' then membership.gone = true
      else
        membership.j = nil
        if not membership.e then membership.r = nil end
      end
    end
  end
  return save()
end

local connection, generation, place = ARGV[7], tonumber(ARGV[8]), ARGV[9]
local found
for _, membership in ipairs(memberships) do
  if not membership.e and membership.c == connection then found = membership end
end

if what == 'leave' then
  if not found or found.d or tonumber(found.g) > generation then
    if not found or found.p ~= place then redis.call('HDEL', ARGV[10] .. place, subject .. '\n' .. connection) end
    return announcements
  end
  unhold(found)
  if tonumber(ARGV[11]) > 0 then found.d = now_ms + tonumber(ARGV[11]) else finish(found) end
  return save()
end

-- join
local is_own = found ~= nil
for _, membership in ipairs(memberships) do
  if not found and not membership.e and membership.s == ARGV[11] then found = membership end
end
for _, membership in ipairs(memberships) do
  if not found and not membership.e and membership.d then found = membership end
end
-- A home that is older, or a connection that another one continues, takes nothing over.
if found and (is_own or not found.d) and tonumber(found.g) > generation then return announcements end
if found then
  if found.p ~= place or found.c ~= connection then unhold(found) end
  found.d = nil
else
  local is_known = redis.call('ZSCORE', KEYS[2], user)
  if #memberships >= tonumber(ARGV[13]) then return announcements end
  if not is_known and redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[12]) then return announcements end
  found = { n = connection, v = string.format('%.0f', now_us) }
  memberships[#memberships + 1] = found
  redis.call('ZADD', KEYS[2], 0, user)
  if redis.call('ZCARD', KEYS[2]) <= told_up_to then
    found.j = true
    announce(found)
  end
end
found.c, found.s, found.g, found.p = connection, ARGV[11], ARGV[8], place
redis.call('HSET', ARGV[10] .. place, subject .. '\n' .. connection, ARGV[8])
redis.call('PEXPIRE', ARGV[10] .. place, ARGV[4])
return save()
