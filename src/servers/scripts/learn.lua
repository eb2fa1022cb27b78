--[[
  Stores the learned traits of a server. Traits of another subject under that id are dropped.

  KEYS[1]     record
  ARGV[1]     subject: kind and address
  ARGV[2...]  fields and values
]]
if redis.call('HGET', KEYS[1], 'subject') ~= ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'subject', ARGV[1])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
