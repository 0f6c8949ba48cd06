-- Reads a page of a channel's history, and the epoch that it belongs to.
--
-- KEYS: 1 meta, 2 history
-- ARGV: 1 "after" (oldest first) or "before" (newest first), 2 the offset that is not read any more, or "" for
--       none, 3 how many at most, 4 with how many bytes of payloads it is enough, or "" for no such bound
-- Answers {epoch, {{id, {"t", tag, "p", payload}}, …}}; the entry that is more than the bytes is the last one.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then return {false, {}} end
local limit, max_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local bound = ARGV[2] ~= '' and '(' .. ARGV[2] .. '-0'
local read, bytes = {}, 0
while #read < limit do
  -- A few at a time: payloads that are not wanted any more shall not be read.
  local wanted = max_bytes and math.min(10, limit - #read) or limit
  local page
  if ARGV[1] == 'after' then
    page = redis.call('XRANGE', KEYS[2], bound or '-', '+', 'COUNT', wanted)
  else
    page = redis.call('XREVRANGE', KEYS[2], bound or '+', '-', 'COUNT', wanted)
  end
  for _, entry in ipairs(page) do
    read[#read + 1] = entry
    bytes = bytes + #entry[2][4]
    if max_bytes and bytes > max_bytes then return {epoch, read} end
    bound = '(' .. entry[1]
  end
  if #page < wanted then break end
end
return {epoch, read}
