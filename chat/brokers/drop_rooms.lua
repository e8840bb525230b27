-- Take rooms whose spool was found empty out of the index, if nobody has noted them for a while.
--
-- KEYS: the index
-- ARGV: ms for which a note holds, then the rooms
-- Answers: those that were dropped
local clock = redis.call('TIME')
local oldest = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000) - tonumber(ARGV[1])
local dropped = {}
for i = 2, #ARGV do
  local noted = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if noted and tonumber(noted) < oldest then
    redis.call('ZREM', KEYS[1], ARGV[i])
    table.insert(dropped, ARGV[i])
  end
end
return dropped
