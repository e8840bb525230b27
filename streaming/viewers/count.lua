-- How many watch a stream. KEYS: its viewers by their last heartbeat, its sums. ARGV: milliseconds that a heartbeat holds;
-- the least that the sums must be by now, different people and peak, or nothing: a Redis that was emptied forgot them.
-- Answers viewers, different people, peak.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local viewers = redis.call('ZCOUNT', KEYS[1], '(' .. (now - ARGV[1]), '+inf')
local unique = tonumber(redis.call('HGET', KEYS[2], 'unique') or '0')
local peak = tonumber(redis.call('HGET', KEYS[2], 'peak') or '0')
if ARGV[2] and redis.call('HGET', KEYS[2], 'seeded') ~= '1' then
    -- Whoever came since Redis was emptied came on top of those it has forgotten.
    unique = unique + tonumber(ARGV[2])
    peak = math.max(peak, tonumber(ARGV[3]))
    redis.call('HSET', KEYS[2], 'seeded', 1, 'unique', unique, 'peak', peak)
    redis.call('EXPIRE', KEYS[2], ARGV[4])
end
return {viewers, unique, peak}
