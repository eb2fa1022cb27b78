--[[
  Gives a model its number: that of its first mark, or the next free one. Another process may have done so just before.

  KEYS[1]     numbers by mark
  KEYS[2]     the last number
  ARGV[1]     mark of the model
  ARGV[2...]  further marks

  Answers the number
]]
local id = redis.call('HGET', KEYS[1], ARGV[1])
if not id then
  id = redis.call('INCR', KEYS[2])
  redis.call('HSET', KEYS[1], ARGV[1], id)
end
for index = 2, #ARGV do redis.call('HSETNX', KEYS[1], ARGV[index], id) end
return tonumber(id)
