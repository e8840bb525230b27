-- Which rooms of a part of the index have something waiting. For one server that has the index and all spools, whose
-- names are made in here: so that a look at hundreds of rooms, several times a second, costs its asker next to nothing.
--
-- KEYS: the index
-- ARGV: first and last place in the index, ms for which a note holds
-- Answers: {how many rooms there are in that part, those with something waiting, those without whose note is older}
local clock = redis.call('TIME')
local oldest = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000) - tonumber(ARGV[3])
local noted = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'WITHSCORES')
local waiting, empty = {}, {}
for i = 1, #noted, 2 do
  if redis.call('XLEN', 'chat:{' .. noted[i] .. '}:spool') > 0 then
    table.insert(waiting, noted[i])
  elseif tonumber(noted[i + 1]) < oldest then
    table.insert(empty, noted[i])
  end
end
return {#noted / 2, waiting, empty}
