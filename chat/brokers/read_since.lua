-- Read what a room said after a position, if that is provable, else its newest messages.
--
-- KEYS: meta hash, stream
-- ARGV: new epoch, seconds a position is kept, ms an entry is kept, most entries to answer,
--       offset and epoch to read after (an empty epoch: just the newest)
-- Answers: {offset, epoch, 1 if recovered else 0, {offset, body, offset, body, ...}}
local meta, stream = KEYS[1], KEYS[2]
local entry_ms, entries_max = tonumber(ARGV[3]), tonumber(ARGV[4])
local since_offset, since_epoch = tonumber(ARGV[5]), ARGV[6]
local epoch, offset, old_epoch, old_offset = current_position(meta, stream, ARGV[1], ARGV[2])

local clock = redis.call('TIME')
local oldest_ms = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000) - entry_ms

local function fresh(entries)
  local kept = {}
  for _, entry in ipairs(entries) do
    if tonumber(entry[2][2]) > oldest_ms then
      table.insert(kept, tonumber(string.match(entry[1], '^(%d+)')))
      table.insert(kept, entry[2][4])
    end
  end
  return kept
end

local continuable = (since_epoch == epoch and since_offset <= offset)
  or (since_epoch == old_epoch and since_offset <= old_offset)
if since_epoch ~= '' and continuable and offset - since_offset <= entries_max then
  local from = string.format('%.0f-0', since_offset + 1)
  local kept = fresh(redis.call('XRANGE', stream, from, '+', 'COUNT', entries_max))
  if #kept / 2 == offset - since_offset then
    return {offset, epoch, 1, kept}
  end
end

local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', entries_max)
local ordered = {}
for i = #newest, 1, -1 do
  table.insert(ordered, newest[i])
end
return {offset, epoch, 0, fresh(ordered)}
