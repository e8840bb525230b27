-- Append a message to its room and publish it, once per message id and within the sender's allowance.
--
-- KEYS: meta hash, stream, the message id's mark, the sender's times
-- ARGV: channel, body, new epoch, entries kept, ms an entry is kept, seconds a position is kept,
--       seconds a message id is kept, messages allowed, ms they are counted over
-- Answers: {offset, epoch, 1 if fresh else 0, ms to wait if refused else 0}
local meta, stream, mark, times = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local channel, body = ARGV[1], ARGV[2]
local entries_max, entry_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local allowed, window_ms = tonumber(ARGV[8]), tonumber(ARGV[9])

local before = redis.call('GET', mark)
if before then
  local offset, epoch = string.match(before, '^(%d+) (.+)$')
  return {tonumber(offset), epoch, 0, 0}
end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- The sender's newest times, newest first: with as many as allowed, the oldest of them must have left the window.
local oldest = redis.call('LINDEX', times, allowed - 1)
if oldest and now - tonumber(oldest) < window_ms then
  return {0, '', 0, tonumber(oldest) + window_ms - now}
end
redis.call('LPUSH', times, string.format('%.0f', now))
redis.call('LTRIM', times, 0, allowed - 1)
redis.call('PEXPIRE', times, window_ms)

local epoch = current_position(meta, stream, ARGV[3], ARGV[6])
local offset = redis.call('HINCRBY', meta, 'offset', 1)
local place = string.format('%.0f', offset)
redis.call('EXPIRE', meta, ARGV[6])
redis.call('XADD', stream, 'MAXLEN', '=', entries_max, place .. '-0', 't', string.format('%.0f', now), 'b', body)
redis.call('PEXPIRE', stream, entry_ms)
redis.call('SET', mark, place .. ' ' .. epoch, 'EX', ARGV[7])

-- Entries past their time leave from the head; the stream never holds more than entries_max, so this ends.
local head = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
while head and now - tonumber(head[2][2]) >= entry_ms do
  redis.call('XDEL', stream, head[1])
  head = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
end

redis.call('PUBLISH', channel, 'm ' .. place .. ' ' .. epoch .. ' ' .. body)
return {offset, epoch, 1, 0}
