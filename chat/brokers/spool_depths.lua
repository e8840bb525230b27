-- How many messages wait in each of some spools, all on this server.
--
-- KEYS: the spools
-- Answers: their lengths, in the same order
local depths = {}
for number, spool in ipairs(KEYS) do
  depths[number] = redis.call('XLEN', spool)
end
return depths
