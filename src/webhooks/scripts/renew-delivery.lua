--[[
  Begins a new round of sending a delivery.

  KEYS[1]  common beginning of every key
  ARGV[1]  id
  ARGV[2]  now

  Answers the number of the round, or -1 if there is no such delivery
]]
--- @include "delivery"
--- @include "publish-delivery"
local id, moment = unpack(ARGV)
local known = redis.call('HMGET', recordKey(id), 'state', 'keyId', 'createdAt')
if not known[1] then return -1 end
local round = redis.call('HINCRBY', recordKey(id), 'round', 1)
redis.call('HSET', recordKey(id), 'state', 'pending', 'reason', '', 'failures', 0, 'roundAt', moment, 'nextAt', moment,
  'nextSetAt', moment)
redis.call('HDEL', recordKey(id), 'finishedAt')
changeState(id, known[2] or '', known[1], 'pending', known[3])
publishDelivery(id)
return round
