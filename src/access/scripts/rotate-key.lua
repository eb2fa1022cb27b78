--[[
  Gives an access key another secret.

  KEYS[1]  record
  ARGV[1]  channel on which processes learn which key to forget
  ARGV[2]  hash of the new secret
  ARGV[3]  time until which the present secret stays good, or 0

  Answers 1, or 0 if there is no such key
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[3] == '0' then
  redis.call('HDEL', KEYS[1], 'previousHash', 'previousUntil')
else
  redis.call('HSET', KEYS[1], 'previousHash', redis.call('HGET', KEYS[1], 'hash'), 'previousUntil', ARGV[3])
end
redis.call('HSET', KEYS[1], 'hash', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'rotations', 1)
redis.call('PUBLISH', ARGV[1], redis.call('HGET', KEYS[1], 'key'))
return 1
