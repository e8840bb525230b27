-- Take a spool away that has nothing in it: an emptied stream would stay as a key for ever.
--
-- KEYS: the spool
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('DEL', KEYS[1])
end
