--[[
  Replaces the hash of a secret, unless it changed meanwhile.

  KEYS[1]  record
  ARGV[1]  field
  ARGV[2]  value until now
  ARGV[3]  new value

  Answers 1, or 0 if it has another value
]]
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
