--[[
  Cancels a waiting job and removes its queue entry, or asks the process that runs it to stop.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job

  Answers { 'cancelled' } | { 'requested' } | { 'ended', status } | { 'gone' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/has-ended"
--- @include "includes/give-back"
--- @include "includes/webhook"
local id = ARGV[1]
local record = readJob(id)
if not record then return { 'gone' } end
if hasEnded(record.status) then return { 'ended', record.status } end
local moment = milliseconds()
writeJobOnce(id, 'cancel', moment)
writeJob(id, 'updated', moment)
if record.status == 'processing' then
  redis.call('PUBLISH', KEYS[1] .. 'channel:cancel', id)
  return { 'requested' }
end
leaveWaiting(id, record, readPooled(id))
writeJob(id, 'status', 'cancelled', 'ended', moment)
redis.call('HDEL', KEYS[1] .. 'skips', id)
changeStatus(id, record.arrival, record.key, record.server, 'pending', 'cancelled')
publish('cancelled', id, record.server, record.key, 'cancelled')
enqueueWebhook('job.cancelled', id)
return { 'cancelled' }
