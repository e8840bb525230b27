-- Note that people are in a room, for a while.
--
-- KEYS: sorted set of people by the ms until which they are believed, of the same by name, hash of their special roles
-- ARGV: ms to believe it, then for each: "<username> <user id>", role (empty: everybody's)
local seen, by_name, roles = KEYS[1], KEYS[2], KEYS[3]
local until_ms = string.format('%.0f', forget_gone_people(seen, by_name, roles) + tonumber(ARGV[1]))
for i = 2, #ARGV, 2 do
  redis.call('ZADD', seen, until_ms, ARGV[i])
  redis.call('ZADD', by_name, 0, ARGV[i])
  if ARGV[i + 1] == '' then
    redis.call('HDEL', roles, ARGV[i])
  else
    redis.call('HSET', roles, ARGV[i], ARGV[i + 1])
  end
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[1])
end
