-- Note how many members one gateway has in a room; answer the sum over the gateways that said so lately.
--
-- KEYS: hash of gateway to "<members> <ms until which it is believed>"
-- ARGV: gateway, members, ms to believe it
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%s %.0f', ARGV[2], now + tonumber(ARGV[3])))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local said, sum = redis.call('HGETALL', KEYS[1]), 0
for i = 1, #said, 2 do
  local members, until_ms = string.match(said[i + 1], '^(%d+) (%d+)$')
  if tonumber(until_ms) > now then
    sum = sum + tonumber(members)
  else
    redis.call('HDEL', KEYS[1], said[i])
  end
end
return sum
