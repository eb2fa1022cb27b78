--[[
  Does what the scripts of the service do, to find out whether Redis allows it.

  KEYS[1]  a hash
  ARGV[1]  its lifetime, in seconds

  Answers 1
]]
redis.call('TIME')
redis.call('HSET', KEYS[1], 'a', 1)
return redis.call('EXPIRE', KEYS[1], ARGV[1])
