-- The room's position, made at the first touch. Prefixed to the scripts that need it.
--
-- A server that was restarted or promoted may have lost its newest writes, and would then give the same offsets to other
-- messages. Its run id tells: under another run id than the last one the room gets a new epoch, and the place where
-- the old one ended on this server is remembered. What is stored here is a prefix of what was said in the old epoch, so a
-- reader at or before that place is continued safely, and one beyond it is not.
--
-- Answers: epoch, offset, and the epoch and offset before the last change (or false).
local function current_position(meta, stream, new_epoch, keep_seconds)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local known = redis.call('HMGET', meta, 'epoch', 'offset', 'run', 'old_epoch', 'old_offset')
  local epoch, offset, old_epoch, old_offset = known[1], tonumber(known[2]), known[4], tonumber(known[5])
  if not epoch then
    -- Messages without a position (evicted, or deleted by hand) cannot be continued.
    redis.call('DEL', stream)
    epoch, offset, old_epoch = new_epoch, 0, false
    redis.call('HSET', meta, 'epoch', epoch, 'offset', 0, 'run', run)
    redis.call('EXPIRE', meta, keep_seconds)
  elseif known[3] ~= run then
    old_epoch, old_offset, epoch = epoch, offset, new_epoch
    redis.call('HSET', meta, 'epoch', epoch, 'run', run, 'old_epoch', old_epoch, 'old_offset', old_offset)
  end
  return epoch, offset, old_epoch, old_offset
end
