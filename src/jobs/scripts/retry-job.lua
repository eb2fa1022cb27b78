--[[
  Puts a failed or cancelled job into the pool again, as if it had just arrived.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job
  ARGV[2]  how many jobs of the access key can wait, or ''
  ARGV[3]  class
  ARGV[4]  needs of the class, JSON
  ARGV[5]  the dial, JSON

  Answers { 'entered', run, position } | { 'active', status } | { 'full', waiting jobs } | { 'gone' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/causes"
--- @include "includes/give-back"
--- @include "includes/offer"
--- @include "includes/waiting-limit"
local id, most, class, needs, dial = unpack(ARGV)
local record = readJob(id)
if not record then return { 'gone' } end
if record.status ~= 'failed' and record.status ~= 'cancelled' then return { 'active', record.status } end
local waiting = waitingBeyond(record.key, most, id, 1)
if waiting then return { 'full', waiting } end
local run = record.run + 1
leaveCause(id, record)
clearJob(id, 'ended', 'started', 'cancel', 'error', 'result', 'used', 'crashes', 'sends',
  'deaths', 'progress', 'fixed', 'charged')
writeJob(id, 'firstRun', run)
local job = readPooled(id)
job.list, job.class, job.needs = job.share, class, needs
job.order = orderOfArrival(job)
enterWaiting(id, record, job, record.status)
local position = positionInPool(job)
publish('accepted', id, job.target, record.key, 'pending', { position = position })
offer(job, dial)
return { 'entered', run, position }
