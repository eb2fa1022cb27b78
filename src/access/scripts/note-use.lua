--[[
  Adds to the uses of an access key.

  KEYS[1]  record
  ARGV[1]  uses since the last note
  ARGV[2]  time of the last one

  Answers 1, or 0 if there is no such key
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'uses', ARGV[1])
if tonumber(ARGV[2]) > tonumber(redis.call('HGET', KEYS[1], 'lastUsed') or 0) then
  redis.call('HSET', KEYS[1], 'lastUsed', ARGV[2])
end
return 1
