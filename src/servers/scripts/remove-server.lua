--[[
  Removes the record of a server, and frees its name.

  KEYS[1]  records of servers
  KEYS[2]  which server has each name
  ARGV[1]  id of the server
  ARGV[2]  its name, in lower case
]]
local id, name = unpack(ARGV)
redis.call('HDEL', KEYS[1], id)
if redis.call('HGET', KEYS[2], name) == id then redis.call('HDEL', KEYS[2], name) end
