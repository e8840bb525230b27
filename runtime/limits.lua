-- Count one request in a moving window, unless it would be one too many.
--
-- KEYS: the list of times (milliseconds) of the requests in the window, newest first; it is as long as the amount at most
-- ARGV: how many requests, in how many milliseconds
-- Answers: {1 if counted or 0, how many more may follow, milliseconds until the oldest leaves the window}
local times, amount, window_ms = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])

-- The server's clock and nobody else's: the processes that ask need not agree about the time.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local oldest = tonumber(redis.call('LINDEX', times, -1) or now)
while oldest <= now - window_ms do
  redis.call('RPOP', times)
  oldest = tonumber(redis.call('LINDEX', times, -1) or now)
end

local counted = redis.call('LLEN', times)
local reset_ms = oldest + window_ms - now
if counted >= amount then
  return {0, 0, reset_ms}
end
redis.call('LPUSH', times, string.format('%.0f', now))
redis.call('PEXPIRE', times, window_ms)
return {1, amount - counted - 1, reset_ms}
