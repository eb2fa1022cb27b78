--[[
  Gives the webhooks of an access key their first secret, if they have none.

  KEYS[1]  record of the access key
  ARGV[1]  secret

  Answers the secret that holds from now on, or nil if there is no such key
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
redis.call('HSETNX', KEYS[1], 'webhookSecret', ARGV[1])
return redis.call('HGET', KEYS[1], 'webhookSecret')
