--[[
  Deletes the record of a delivery.

  KEYS[1]  common beginning of every key
  ARGV[1]  id

  Answers 1, or 0 if there is no such delivery
]]
--- @include "delivery"
local id = ARGV[1]
local known = redis.call('HMGET', recordKey(id), 'state', 'keyId', 'jobId')
if not known[1] then
  redis.call('ZREM', KEYS[1] .. 'deliveries:*:*', id)
  return 0
end
leaveIndexes(id, known[2] or '', known[1])
leaveIndexes(id, known[2] or '', '*')
if known[3] and known[3] ~= '' then redis.call('ZREM', KEYS[1] .. 'job:' .. known[3] .. ':deliveries', id) end
redis.call('DEL', recordKey(id), recordKey(id) .. ':attempts')
return 1
