-- Forget people whom nobody has seen lately, a bounded number a call. Prefixed to the scripts that need it.
--
-- Answers: this server's clock in ms.
local function forget_gone_people(seen, by_name, roles)
  local clock = redis.call('TIME')
  local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
  for _ = 1, 10 do
    local gone = redis.call('ZRANGEBYSCORE', seen, '-inf', string.format('%.0f', now), 'LIMIT', 0, 500)
    if #gone == 0 then
      break
    end
    redis.call('ZREM', seen, unpack(gone))
    redis.call('ZREM', by_name, unpack(gone))
    redis.call('HDEL', roles, unpack(gone))
  end
  return now
end
