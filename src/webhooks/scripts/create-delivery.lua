--[[
  Creates the record of a delivery.

  KEYS[1]     common beginning of every key
  ARGV[1]     id
  ARGV[2]     id of the access key, or ''
  ARGV[3]     id of the job, or ''
  ARGV[4]     time
  ARGV[5...]  fields and values

  Answers 1, or 0 if it is known already
]]
--- @include "delivery"
--- @include "publish-delivery"
local id, key, job, created = unpack(ARGV, 1, 4)
if redis.call('EXISTS', recordKey(id)) == 1 then return 0 end
redis.call('HSET', recordKey(id), 'state', 'pending', 'roundAt', created, unpack(ARGV, 5))
enterIndexes(id, key, 'pending', created)
enterIndexes(id, key, '*', created)
if job ~= '' then redis.call('ZADD', KEYS[1] .. 'job:' .. job .. ':deliveries', created, id) end
publishDelivery(id)
return 1
