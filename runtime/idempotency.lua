-- What is kept of requests with an Idempotency-Key: begin one, keep its answer, or forget it.
--
-- KEYS: the request's hash, the sorted set of the names of the user's requests by the time they began
-- ARGV: 'begin', the request's name, owner, request digest, ms a request runs at most, ms it is kept, most of a user
--       'keep', the request's name, owner, the answer
--       'forget', the request's name, owner
-- Answers to begin: false if it is new, or {request digest, 1 if its process is gone or else 0, the answer or ''};
--       to the others: 1, or 0 if the owner is another
local kept, index = KEYS[1], KEYS[2]
local verb, name, owner = ARGV[1], ARGV[2], ARGV[3]

if verb == 'begin' then
  local clock = redis.call('TIME')
  local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
  local before = redis.call('HMGET', kept, 'request', 'until', 'answer', 'owner')
  if before[4] == owner then
    return false -- asked twice, since the first answer was lost on its way
  end
  if before[1] then
    return {before[1], tonumber(before[2]) < now and 1 or 0, before[3] or ''}
  end
  local running_ms, kept_ms, most = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  redis.call('ZREMRANGEBYSCORE', index, '-inf', now - kept_ms)
  -- Whoever sends more keys than that loses the oldest; all of a user are in one slot.
  local prefix = string.sub(kept, 1, #kept - #name)
  while redis.call('ZCARD', index) >= most do
    redis.call('DEL', prefix .. redis.call('ZPOPMIN', index)[1])
  end
  redis.call('HSET', kept, 'request', ARGV[4], 'owner', owner, 'until', string.format('%.0f', now + running_ms))
  redis.call('PEXPIRE', kept, kept_ms)
  redis.call('ZADD', index, string.format('%.0f', now), name)
  redis.call('PEXPIRE', index, kept_ms)
  return false
end

if redis.call('HGET', kept, 'owner') ~= owner then
  return 0
end
if verb == 'keep' then
  redis.call('HSET', kept, 'answer', ARGV[4])
  redis.call('HDEL', kept, 'owner')
else
  redis.call('DEL', kept)
  redis.call('ZREM', index, name)
end
return 1
