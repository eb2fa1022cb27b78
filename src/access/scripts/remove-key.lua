--[[
  Removes an access key.

  KEYS[1]  record
  KEYS[2]  list of all keys
  KEYS[3]  ids by public half
  ARGV[1]  channel on which processes learn which key to forget
  ARGV[2]  id

  Answers 1, or 0 if there is no such key
]]
local key = redis.call('HGET', KEYS[1], 'key')
if not key then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('HDEL', KEYS[3], key)
redis.call('PUBLISH', ARGV[1], key)
return 1
