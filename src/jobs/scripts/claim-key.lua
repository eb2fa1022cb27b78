--[[
  Claims an Idempotency-Key for a request, unless another request has it.

  KEYS[1]  entry of the key
  ARGV[1]  id that the request proposes
  ARGV[2]  fingerprint of the request
  ARGV[3]  lifetime, in milliseconds

  Answers the valid { id, fingerprint, answer }
]]
if redis.call('HSETNX', KEYS[1], 'id', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return redis.call('HMGET', KEYS[1], 'id', 'fingerprint', 'answer')
