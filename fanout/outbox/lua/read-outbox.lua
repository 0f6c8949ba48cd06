-- Reads the oldest entries of a partition's outbox, as many as fit. The first one is read however large it is.
--
-- KEYS: 1 outbox
-- ARGV: 1 how many at most, 2 how many bytes of payloads at most
-- Answers {1 where there may be more, {{id, {field, value, …}}, …}}; the payload is the last field (see channel/lua/publish-durable.lua).
local max_entries, max_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local read, bytes, from = {}, 0, '-'
while #read < max_entries do
  -- A few at a time: payloads that do not fit any more shall not be read.
  local wanted = math.min(10, max_entries - #read)
  local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', wanted)
  for _, entry in ipairs(page) do
    bytes = bytes + #entry[2][#entry[2]]
    if #read > 0 and bytes > max_bytes then return {1, read} end
    read[#read + 1] = entry
    from = '(' .. entry[1]
  end
  if #page < wanted then return {0, read} end
end
return {1, read}
