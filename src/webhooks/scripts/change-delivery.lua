--[[
  Records the outcome of one round of sending a delivery.

  KEYS[1]  common beginning of every key
  ARGV[1]  id
  ARGV[2]  round
  ARGV[3]  state
  ARGV[4]  reason, or ''
  ARGV[5]  time of the next attempt, or ''
  ARGV[6]  now
  ARGV[7]  attempt, JSON, or ''
  ARGV[8]  status of the answer, or ''
  ARGV[9]  failures of this attempt, 1 or 0

  Answers 1, or 0 if another round has begun or the delivery has finished
]]
--- @include "delivery"
--- @include "publish-delivery"
local id, round, state, reason, following, moment, attempt, status, failures = unpack(ARGV)
local known = redis.call('HMGET', recordKey(id), 'state', 'round', 'keyId', 'createdAt')
if known[1] ~= 'pending' or (known[2] or '0') ~= round then return 0 end
redis.call('HSET', recordKey(id), 'state', state, 'reason', reason, 'nextAt', following, 'nextSetAt', moment)
if state ~= 'pending' then redis.call('HSET', recordKey(id), 'finishedAt', moment) end
if attempt ~= '' then
  redis.call('HINCRBY', recordKey(id), 'attempts', 1)
  redis.call('HINCRBY', recordKey(id), 'failures', failures)
  redis.call('HSET', recordKey(id), 'lastStatus', status)
  redis.call('RPUSH', recordKey(id) .. ':attempts', attempt)
  redis.call('LTRIM', recordKey(id) .. ':attempts', -100, -1)
end
changeState(id, known[3] or '', 'pending', state, known[4])
publishDelivery(id)
return 1
