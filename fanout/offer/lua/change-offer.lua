-- Applies one command to an offer, in one step: the machine of `offer-machine.ts`, by Redis's clock. Time that has
-- passed is dealt with first. Each change is kept for delivery to candidates and added to the outbox for Kafka; where
-- the outbox is full nothing is written at all.
--
-- KEYS: 1 offer, 2 its undelivered changes by revision, 3 offers with such by the time of the oldest, 4 open offers by
--       their next deadline, 5 outbox, 6 pub/sub channel of the outbox's news
-- ARGV: 1 command, 2 "app/offer", 3 offer id, 4 topic, 5 bound of the outbox, 6 bound of open offers; then for
--       create: 7 digest, 8 mode, 9 candidates (separated by spaces), 10 subject, 11 deadline in ms or "", 12 time limit
--       in ms, 13 a candidate's time limit in ms, 14 seed, 15 template; accept: 7 user, 8 role, 9 fencing number or "";
--       reject: 7 user, 8 role, 9 reason; withdraw: 7 reason; pass: 7 user; look: nothing
-- Answers {outcome, state, ended at, fencing number, subject, changes made, how long some wait for delivery in ms or ""}.
-- Outcomes: those of OfferOutcome, and outbox_full, too_many.
local command, member, offer_id = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function text(number) return string.format('%.0f', number) end

local FIXED = { 'digest', 'mode', 'candidates', 'subject', 'deadline', 'turn_ms', 'seed' }
local MOVING = { 'state', 'marks', 'turn', 'turn_ends', 'asked_at', 'asked_revision', 'revision', 'winner', 'fence',
  'ended', 'reason' }
local offer, changes = {}, {}
for _, names in ipairs({ FIXED, MOVING }) do
  local stored = redis.call('HMGET', KEYS[1], unpack(names))
  for index, name in ipairs(names) do offer[name] = stored[index] end
end

local candidates
local function candidate_at(index)
  if not candidates then
    candidates = {}
    for name in string.gmatch(offer.candidates, '[^ ]+') do candidates[#candidates + 1] = name end
  end
  return candidates[index]
end

local function mark_of(index) return string.sub(offer.marks, index, index) end

local function set_mark(index, mark)
  offer.marks = string.sub(offer.marks, 1, index - 1) .. mark .. string.sub(offer.marks, index + 1)
end

-- A candidate who knows of the offer: who waits for their turn does not.
local function candidate(user)
  local index = 1
  while candidate_at(index) do
    if candidate_at(index) == user then return mark_of(index) ~= 'w' and index or nil end
    index = index + 1
  end
end

local function change(kind, facts)
  offer.revision = text(tonumber(offer.revision) + 1)
  -- Numbers are texts: cjson would round them.
  changes[#changes + 1] = { offer.revision, cjson.encode({
    revision = offer.revision, kind = kind, time = text(now), user = facts.user or '', role = facts.role or '',
    reason = facts.reason or '', fence = facts.fence or '0', expires = facts.expires or '0', marks = offer.marks,
  }) }
end

local function finish(state, facts)
  offer.state, offer.ended, offer.reason = state, text(now), facts.reason or ''
  change(state, facts)
end

local function ask_next()
  local turn = string.find(offer.marks, 'w', 1, true)
  if not turn then return finish('expired', { reason = 'no_candidate_left' }) end
  set_mark(turn, 'a')
  offer.turn = text(turn)
  offer.turn_ends = text(math.min(tonumber(offer.deadline), now + tonumber(offer.turn_ms)))
  offer.asked_at, offer.asked_revision = text(now), text(tonumber(offer.revision) + 1)
  change('asked', { user = candidate_at(turn), expires = offer.turn_ends })
end

local function pass(mark, reason)
  local turn = tonumber(offer.turn)
  set_mark(turn, mark)
  change('passed', { user = candidate_at(turn), reason = reason })
  ask_next()
end

local function let_time_pass()
  if offer.state ~= 'open' then return end
  local turn_ends = tonumber(offer.turn_ends)
  if now >= tonumber(offer.deadline) then finish('expired', {})
  elseif turn_ends > 0 and now >= turn_ends then pass('t', 'timeout') end
end

local function write()
  local fields = {}
  for _, name in ipairs(MOVING) do
    fields[#fields + 1] = name
    fields[#fields + 1] = offer[name]
  end
  redis.call('HSET', KEYS[1], unpack(fields))
  local template = redis.call('HGET', KEYS[1], 'template')
  for _, each in ipairs(changes) do
    redis.call('HSET', KEYS[2], each[1], each[2])
    -- The payload is the last field (see outbox/lua/read-outbox.lua).
    redis.call('XADD', KEYS[5], '*', 'topic', ARGV[4], 'key', offer_id, 'event', offer.seed .. '-' .. each[1],
      'channel', string.sub(member, 1, #member - #offer_id) .. 'offer:' .. offer_id, 'epoch', offer.seed,
      'offset', each[1], 'time', text(now), 'offer-change', each[2], 'payload', template)
  end
  redis.call('SPUBLISH', KEYS[6], '')
  redis.call('ZADD', KEYS[3], 'NX', text(now), member)
  if offer.state == 'open' then
    local turn_ends, deadline = tonumber(offer.turn_ends), tonumber(offer.deadline)
    redis.call('ZADD', KEYS[4], text(turn_ends > 0 and math.min(turn_ends, deadline) or deadline), member)
  else
    redis.call('ZREM', KEYS[4], member)
  end
end

local function is_outbox_full() return redis.call('XLEN', KEYS[5]) >= tonumber(ARGV[5]) end

local function answer(outcome)
  if #changes > 0 then
    if is_outbox_full() then return { 'outbox_full' } end
    write()
  end
  local since = redis.call('ZSCORE', KEYS[3], member)
  return { outcome, offer.state, offer.ended, offer.fence, offer.subject, #changes,
    since and text(math.max(0, now - tonumber(since))) or '' }
end

if command == 'create' then
  if offer.state then
    let_time_pass()
    return answer(offer.digest == ARGV[7] and 'repeated' or 'other')
  end
  if is_outbox_full() then return { 'outbox_full' } end
  if redis.call('ZCARD', KEYS[4]) >= tonumber(ARGV[6]) then return { 'too_many' } end
  local deadline = ARGV[11] ~= '' and tonumber(ARGV[11]) or now + tonumber(ARGV[12])
  offer = {
    digest = ARGV[7], mode = ARGV[8], candidates = ARGV[9], subject = ARGV[10], deadline = text(deadline),
    turn_ms = ARGV[13], seed = ARGV[14], state = 'open', turn = '0', turn_ends = '0', asked_at = text(now),
    asked_revision = '1', revision = '0', winner = '', fence = '0', ended = '0', reason = '',
  }
  local _, spaces = string.gsub(offer.candidates, ' ', '')
  local is_asked = offer.mode == 'all_at_once' and deadline > now
  offer.marks = string.rep(is_asked and 'a' or 'w', spaces + 1)
  local fields = { 'template', ARGV[15], 'created', text(now) }
  for _, name in ipairs(FIXED) do
    fields[#fields + 1] = name
    fields[#fields + 1] = offer[name]
  end
  redis.call('HSET', KEYS[1], unpack(fields))
  change('open', { expires = offer.deadline })
  let_time_pass()
  if offer.state == 'open' and offer.mode == 'one_by_one' then ask_next() end
  return answer('done')
end

if not offer.state then
  -- What is left of an offer that was lost shall not be looked at for ever.
  if command == 'look' then
    redis.call('ZREM', KEYS[3], member)
    redis.call('ZREM', KEYS[4], member)
  end
  return { 'unknown', '', '0', '0', '', 0, '' }
end
let_time_pass()

local function refusal(index)
  if offer.state ~= 'open' then return 'over' end
  local mark = mark_of(index)
  if mark == 'a' then return nil end
  return mark == 'r' and 'rejected' or 'passed'
end

if command == 'accept' then
  local user, fence = ARGV[7], ARGV[9]
  local index = candidate(user)
  if not index then return answer('unknown') end
  if offer.state == 'accepted' and offer.winner == user then return answer('repeated') end
  local refused = refusal(index)
  if refused then return answer(refused) end
  if fence == '' then return answer('draw') end
  set_mark(index, 'A')
  offer.winner, offer.fence = user, fence
  finish('accepted', { user = user, role = ARGV[8], fence = fence })
  return answer('done')
end

if command == 'reject' then
  local user = ARGV[7]
  local index = candidate(user)
  if not index then return answer('unknown') end
  if mark_of(index) == 'r' then return answer('repeated') end
  local refused = refusal(index)
  if refused then return answer(refused) end
  set_mark(index, 'r')
  change('rejected', { user = user, role = ARGV[8], reason = ARGV[9] })
  if offer.mode == 'one_by_one' then ask_next()
  elseif not string.find(offer.marks, 'a', 1, true) then finish('expired', { reason = 'no_candidate_left' }) end
  return answer('done')
end

if command == 'withdraw' then
  if offer.state == 'withdrawn' then return answer('repeated') end
  if offer.state ~= 'open' then return answer('over') end
  finish('withdrawn', { reason = ARGV[7] })
  return answer('done')
end

if command == 'pass' then
  local is_their_turn = offer.state == 'open' and offer.mode == 'one_by_one'
    and candidate_at(tonumber(offer.turn)) == ARGV[7]
  if not is_their_turn then return answer('passed') end
  pass('o', 'offline')
end
return answer('done')
