-- Note in the index that a room's spool may have something, by this server's clock.
--
-- KEYS: the index, a sorted set of rooms by the ms they were noted
-- ARGV: room
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
