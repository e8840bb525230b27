-- One heartbeat that counts. KEYS: the stream's viewers by their last heartbeat, its sums, the viewers of one address.
-- ARGV: the viewer's id, milliseconds that a heartbeat holds, viewers of an address at most, whether the viewer is new,
-- seconds that the sums are kept. Answers how many watch now; -1: the address has too many, nothing was counted.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = now - ARGV[2]
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', over)
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) and redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[3]) then
    return -1
end
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', over)
local added = redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local viewers = redis.call('ZCARD', KEYS[1])
if added == 1 and ARGV[4] == '1' then
    redis.call('HINCRBY', KEYS[2], 'unique', 1)
end
if viewers > tonumber(redis.call('HGET', KEYS[2], 'peak') or '0') then
    redis.call('HSET', KEYS[2], 'peak', viewers)
end
redis.call('EXPIRE', KEYS[2], ARGV[5])
return viewers
