-- List people who are in a room, by name.
--
-- KEYS: as of note_people
-- ARGV: first and last (as ZRANGEBYLEX has them), most people to answer
-- Answers: {how many there are in all, {"<username> <user id>", role, …}}
local seen, by_name, roles = KEYS[1], KEYS[2], KEYS[3]
local now = forget_gone_people(seen, by_name, roles)
local found, first, limit = {}, ARGV[1], tonumber(ARGV[3])
-- Those who are gone and not forgotten yet take no place of others: a page that is short is the last one.
while limit > 0 and #found < 2 * limit do
  local batch = redis.call('ZRANGEBYLEX', by_name, first, ARGV[2], 'LIMIT', 0, limit)
  for _, person in ipairs(batch) do
    local until_ms = redis.call('ZSCORE', seen, person)
    if until_ms and tonumber(until_ms) > now and #found < 2 * limit then
      table.insert(found, person)
      table.insert(found, redis.call('HGET', roles, person) or '')
    end
  end
  if #batch < limit then
    break
  end
  first = '(' .. batch[#batch]
end
return {redis.call('ZCOUNT', seen, string.format('(%.0f', now), '+inf'), found}
