--[[
  Creates an access key.

  KEYS[1]     record
  KEYS[2]     list of all keys
  KEYS[3]     ids by public half
  ARGV[1]     `any`, or `first` where there must be no key yet
  ARGV[2]     channel on which processes learn which key to forget
  ARGV[3]     id
  ARGV[4]     time of creation
  ARGV[5]     public half
  ARGV[6...]  fields and values

  Answers 1, or 0 if there is such a key already
]]
local when, channel, id, created, key = unpack(ARGV, 1, 5)
if when == 'first' and redis.call('ZCARD', KEYS[2]) > 0 then return 0 end
if redis.call('HSETNX', KEYS[3], key, id) == 0 then return 0 end
redis.call('ZADD', KEYS[2], created, id)
redis.call('HSET', KEYS[1], 'key', key, 'created', created, unpack(ARGV, 6))
redis.call('PUBLISH', channel, key)
return 1
