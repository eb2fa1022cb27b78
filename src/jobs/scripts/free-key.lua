--[[
  Frees an Idempotency-Key whose request turned out to be wrong, unless it was answered.

  KEYS[1]  entry of the key
  ARGV[1]  id of the claim
]]
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] and redis.call('HEXISTS', KEYS[1], 'answer') == 0 then
  redis.call('DEL', KEYS[1])
end
