--[[
  Cancels a waiting job and removes its queue entry, or asks the process that runs it to stop.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job

  Answers { 'cancelled' } | { 'requested' } | { 'ended', status } | { 'gone' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/record"
--- @include "includes/has-ended"
--- @include "includes/indexes"
--- @include "includes/queue"
--- @include "includes/entry"
--- @include "includes/webhook"
local id = ARGV[1]
local job = readJob(id)
if not job then return { 'gone' } end
if hasEnded(job.status) then return { 'ended', job.status } end
local moment = milliseconds()
redis.call('HSETNX', jobKey(id), 'cancel', moment)
redis.call('HSET', jobKey(id), 'updated', moment)
if job.status == 'processing' then
  redis.call('PUBLISH', KEYS[1] .. 'channel:cancel', id)
  return { 'requested' }
end
redis.call('HSET', jobKey(id), 'status', 'cancelled', 'ended', moment)
redis.call('HDEL', jobKey(id), 'place')
redis.call('ZREM', queueKey(job.server), id)
removeRunEntry(job.server, id, job.run)
changeStatus(id, job.arrival, job.key, job.server, 'pending', 'cancelled')
publish('cancelled', id, job.server, job.key, 'cancelled')
enqueueWebhook('job.cancelled', id)
return { 'cancelled' }
