-- Append a message to its room and publish it, once per message id and if every condition holds.
--
-- KEYS: meta hash, stream, the message id's mark, the spool, then a list of times for each allowance,
--       then the mark of the digest if there is one
-- ARGV: command to publish with, channel, body, new epoch, entries kept, ms an entry is kept,
--       seconds a position is kept, seconds a message id is kept,
--       most entries in the spool (0: this one is not spooled), ms a digest counts (0: there is none),
--       then for each allowance: how many messages, in how many ms
-- Answers: {'fresh' or 'known', offset, epoch}, or {'too-often', ms to wait, which allowance, from 1},
--          or {'said-before'}, or {'spool-full'}; refused, it has written nothing
local meta, stream, mark, spool = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local body, entries_max, entry_ms = ARGV[3], ARGV[5], tonumber(ARGV[6])
local spooled_max, digest_ms = tonumber(ARGV[9]), tonumber(ARGV[10])
local allowances, digest = (#ARGV - 10) / 2, digest_ms > 0 and KEYS[#KEYS]

local before = redis.call('GET', mark)
if before then
  local offset, epoch = string.match(before, '^(%d+) (.+)$')
  return {'known', tonumber(offset), epoch}
end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local now_text = string.format('%.0f', now)

-- The sender's newest times, newest first: with as many as allowed, the oldest of them must have left the window.
local longest, which = 0, 0
for i = 1, allowances do
  local allowed, window_ms = tonumber(ARGV[9 + 2 * i]), tonumber(ARGV[10 + 2 * i])
  local oldest = redis.call('LINDEX', KEYS[4 + i], allowed - 1)
  local wait = oldest and tonumber(oldest) + window_ms - now or 0
  if wait > longest then
    longest, which = wait, i
  end
end
if which > 0 then
  return {'too-often', longest, which}
end
if digest and redis.call('EXISTS', digest) == 1 then
  return {'said-before'}
end
if spooled_max > 0 and redis.call('XLEN', spool) >= spooled_max then
  return {'spool-full'}
end

for i = 1, allowances do
  redis.call('LPUSH', KEYS[4 + i], now_text)
  redis.call('LTRIM', KEYS[4 + i], 0, tonumber(ARGV[9 + 2 * i]) - 1)
  redis.call('PEXPIRE', KEYS[4 + i], ARGV[10 + 2 * i])
end
if digest then
  redis.call('SET', digest, 1, 'PX', digest_ms)
end

local epoch = current_position(meta, stream, ARGV[4], ARGV[7])
local offset = redis.call('HINCRBY', meta, 'offset', 1)
local place = string.format('%.0f', offset)
redis.call('EXPIRE', meta, ARGV[7])
redis.call('XADD', stream, 'MAXLEN', '=', entries_max, place .. '-0', 't', now_text, 'b', body)
redis.call('PEXPIRE', stream, entry_ms)
redis.call('SET', mark, place .. ' ' .. epoch, 'EX', ARGV[8])
if spooled_max > 0 then
  redis.call('XADD', spool, '*', 'o', place, 'e', epoch, 'b', body)
end

-- Entries past their time leave from the head; the stream never holds more than entries_max, so this ends.
local head = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
while head and now - tonumber(head[2][2]) >= entry_ms do
  redis.call('XDEL', stream, head[1])
  head = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
end

redis.call(ARGV[1], ARGV[2], 'm ' .. place .. ' ' .. epoch .. ' ' .. body)
return {'fresh', offset, epoch}
