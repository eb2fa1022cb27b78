--[[
  Gives the webhooks of an access key another secret.

  KEYS[1]  record of the access key
  ARGV[1]  secret
  ARGV[2]  time until which the present one signs too, or 0

  Answers 1, or 0 if there is no such key
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local present = redis.call('HGET', KEYS[1], 'webhookSecret')
if present and ARGV[2] ~= '0' then
  redis.call('HSET', KEYS[1], 'webhookFormer', present, 'webhookFormerUntil', ARGV[2])
else
  redis.call('HDEL', KEYS[1], 'webhookFormer', 'webhookFormerUntil')
end
redis.call('HSET', KEYS[1], 'webhookSecret', ARGV[1])
return 1
