--[[
  Moves a waiting job of an earlier version, which bound it to a server at once, into the pool. Call it in the old
  order.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job
  ARGV[2]  id of the server
  ARGV[3]  fence of the lease
  ARGV[4]  id of the server that it needs, or '' for any
  ARGV[5]  class
  ARGV[6]  needs of the class, JSON
  ARGV[7]  predicted work in milliseconds
  ARGV[8]  weight
  ARGV[9]  user within the access key, or ''

  Answers 1, or 0 if there is nothing to move
]]
--- @include "includes/give-back"
--- @include "includes/lease"
local id, server, fence, target, class, needs, ms, weight, user = unpack(ARGV)
if not servesUnder(server, fence) then return 0 end
local record = readJob(id)
redis.call('ZREM', KEYS[1] .. 'entering:' .. server, id .. '_' .. (record and record.run or '1'))
if not record or record.status ~= 'pending' or record.server ~= server or
  redis.call('HEXISTS', jobKey(id), 'class') == 1 then return 0 end
redis.call('ZREM', queueKey(server), id)
removeEntry('generation-' .. server, id .. '_' .. record.run)
writeJob(id, 'share', record.key, 'user', user, 'target', target)
clearJob(id, 'lane', 'place')
local job = readPooled(id)
job.list, job.class, job.needs, job.ms, job.weight = record.key, class, needs, ms, weight
job.order = orderOfArrival(job)
enterWaiting(id, record, job, 'pending')
announce(class)
return 1
