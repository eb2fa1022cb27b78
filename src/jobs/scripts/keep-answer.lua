--[[
  Keeps the answer to a request with an Idempotency-Key. The first answer stays.

  KEYS[1]  entry of the key
  ARGV[1]  id of the claim
  ARGV[2]  answer

  Answers the valid answer
]]
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return ARGV[2] end
redis.call('HSETNX', KEYS[1], 'answer', ARGV[2])
return redis.call('HGET', KEYS[1], 'answer')
