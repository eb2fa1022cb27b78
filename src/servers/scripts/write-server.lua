--[[
  Writes the record of a server together with its name: a new one, or in place of the record that was read.

  KEYS[1]  records of servers
  KEYS[2]  which server has each name
  ARGV[1]  id of the server
  ARGV[2]  record that was read, or '' for a new server
  ARGV[3]  record to write, JSON
  ARGV[4]  its name, in lower case
  ARGV[5]  its name in the record that was read, or ''

  Answers 'written' | 'changed', if the record did or was removed meanwhile | 'taken', if another server has the name
]]
local id, read, record, name, nameBefore = unpack(ARGV)
if (redis.call('HGET', KEYS[1], id) or '') ~= read then return 'changed' end
if name ~= nameBefore then
  local holder = redis.call('HGET', KEYS[2], name)
  -- A crash of an earlier version can have left the name with a removed server.
  if holder and holder ~= id and redis.call('HEXISTS', KEYS[1], holder) == 1 then return 'taken' end
  if redis.call('HGET', KEYS[2], nameBefore) == id then redis.call('HDEL', KEYS[2], nameBefore) end
  redis.call('HSET', KEYS[2], name, id)
end
redis.call('HSET', KEYS[1], id, record)
return 'written'
