--[[
  Replaces the record of a server, unless it changed or was removed meanwhile.

  KEYS[1]  records of servers
  ARGV[1]  id of the server
  ARGV[2]  record that was read, JSON
  ARGV[3]  record to write, JSON

  Answers 1, or 0 if it changed meanwhile
]]
local id, before, after = unpack(ARGV)
if redis.call('HGET', KEYS[1], id) ~= before then return 0 end
redis.call('HSET', KEYS[1], id, after)
return 1
