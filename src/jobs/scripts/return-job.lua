--[[
  Returns a running job to the pool, at its old position. A job that was sent as often as allowed, which is the
  allowed attempts and once more for each time that its server died, fails instead. The same claim gets the same answer
  again.

  KEYS[1]   common beginning of every key
  ARGV[1]   id of the job
  ARGV[2]   run
  ARGV[3]   owner of the run
  ARGV[4]   class from now on
  ARGV[5]   needs of the class, JSON
  ARGV[6]   used attempts to add
  ARGV[7]   crashes to add
  ARGV[8]   attempts, JSON, or ''
  ARGV[9]   what happened to the server: answers | gone | unsent (it certainly was not sent) | stopped (by us, in order)
  ARGV[10]  allowed attempts
  ARGV[11]  error of a job that fails here, JSON
  ARGV[12]  fence of the lease, or '' if the run itself returns the job
  ARGV[13]  milliseconds for which it rests
  ARGV[14]  the dial, JSON

  Answers { 'returned', new run } | { 'cancelled' } | { 'spent' } | { 'superseded' } | { 'lease_lost' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/causes"
--- @include "includes/give-back"
--- @include "includes/offer"
--- @include "includes/webhook"
--- @include "includes/end-data"
local id, run, owner, class, needs, used, crashes, attempts, fate, allowed, failure, fence = unpack(ARGV)
local delay, dial = unpack(ARGV, 13)
local record = readJob(id)
if not record or record.owner ~= owner then return { 'superseded' } end
local following = string.format('%.0f', run + 1)
if record.status == 'pending' and record.run == following then return { 'returned', following } end
if record.run ~= run then return { 'superseded' } end
if record.status == 'cancelled' then return { 'cancelled' } end
if record.status == 'failed' then return { 'spent' } end
if record.status ~= 'processing' then return { 'superseded' } end
if fence ~= '' then
  if not servesUnder(record.server, fence) then return { 'lease_lost' } end
  -- The server can still work on it.
  noteWithdrawn(id, record.server)
end
local moment = milliseconds()
local job = readPooled(id)
refund(job)
clearJob(id, 'progress')
writeJob(id, 'updated', moment)
if attempts ~= '' then writeJob(id, 'attempts', attempts) end
if redis.call('HEXISTS', jobKey(id), 'cancel') == 1 then
  writeJob(id, 'status', 'cancelled', 'ended', moment)
  changeStatus(id, record.arrival, record.key, record.server, 'processing', 'cancelled')
  publish('cancelled', id, record.server, record.key, 'cancelled')
  enqueueWebhook('job.cancelled', id)
  return { 'cancelled' }
end
addToJob(id, 'used', used)
addToJob(id, 'crashes', crashes)
if fate == 'gone' then addToJob(id, 'deaths', 1) end
if fate == 'unsent' or fate == 'stopped' then addToJob(id, 'sends', -1) end
local sent = redis.call('HMGET', jobKey(id), 'sends', 'deaths')
if tonumber(sent[1] or 0) - tonumber(sent[2] or 0) >= tonumber(allowed) then
  writeJob(id, 'status', 'failed', 'ended', moment, 'error', failure)
  changeStatus(id, record.arrival, record.key, record.server, 'processing', 'failed')
  enterCause(id, record, failure)
  publish('failed', id, record.server, record.key, 'failed', endData(failure, {}))
  enqueueWebhook('job.failed', id)
  return { 'spent' }
end
job.class, job.needs = class, needs
-- Its next server chooses the checkpoint again.
if string.sub(class, 1, 1) == '-' then clearJob(id, 'fixed') end
local due = tonumber(delay) > 0 and moment + tonumber(delay) or nil
enterWaiting(id, record, job, 'processing', due)
publish('returned', id, record.server, record.key, 'pending', { position = positionInPool(job) })
if not due then offer(job, dial) end
return { 'returned', following }
