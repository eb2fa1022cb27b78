--[[
  Replaces what a waiting job generates. It keeps its place and gets a new run, so a claim of before is void.

  KEYS[1]   common beginning of every key
  ARGV[1]   id of the job
  ARGV[2]   the run that must wait
  ARGV[3]   id of the server that it needs, or '' for any
  ARGV[4]   submission, JSON
  ARGV[5]   prompt, for searches
  ARGV[6]   workload
  ARGV[7]   class
  ARGV[8]   needs of the class, JSON
  ARGV[9]   predicted work in milliseconds
  ARGV[10]  application that it is for, for searches
  ARGV[11]  user within the access key, or ''
  ARGV[12]  the dial, JSON

  Answers { 'edited', new run, position } | { 'not_pending', status } | { 'superseded' } | { 'gone' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/give-back"
--- @include "includes/offer"
--- @include "includes/search"
local id, run, target, submission, prompt, workload, class, needs, ms, application, user, dial = unpack(ARGV)
local record = readJob(id)
if not record then return { 'gone' } end
if record.status ~= 'pending' then return { 'not_pending', record.status } end
if run ~= record.run then return { 'superseded' } end
local job = readPooled(id)
local isEarlier = job.class == ''
leaveWaiting(id, record, job)
writeJob(id, 'submission', submission, 'prompt', prompt, 'cost', workload, 'target', target)
clearJob(id, 'fixed')
job.target, job.class, job.needs, job.ms = target, class, needs, ms
if isEarlier then job.order = orderOfArrival(job) end
if leaveSearch(id, record.arrival) then enterSearch(id, record.arrival, prompt, application, user) end
local new = enterWaiting(id, record, job, 'pending')
local position = positionInPool(job)
publish('changed', id, job.target, record.key, 'pending', { position = position, from = record.server })
offer(job, dial)
return { 'edited', new, position }
