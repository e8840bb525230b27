-- List people who are in a room, by name.
--
-- KEYS: as of note_people
-- ARGV: first and last (as ZRANGEBYLEX has them), most people to answer
-- Answers: {how many there are in all, {"<username> <user id>", role, …}}
local seen, by_name, roles = KEYS[1], KEYS[2], KEYS[3]
local now = forget_gone_people(seen, by_name, roles)
local found = {}
for _, person in ipairs(redis.call('ZRANGEBYLEX', by_name, ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])) do
  local until_ms = redis.call('ZSCORE', seen, person)
  if until_ms and tonumber(until_ms) > now then
    table.insert(found, person)
    table.insert(found, redis.call('HGET', roles, person) or '')
  end
end
return {redis.call('ZCOUNT', seen, string.format('(%.0f', now), '+inf'), found}
