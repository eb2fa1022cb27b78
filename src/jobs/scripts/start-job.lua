--[[
  Starts a run: the job leaves the queue and is processing from now on. The same claim gets the same answer again.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job
  ARGV[2]  run
  ARGV[3]  id of the server
  ARGV[4]  owner of the run
  ARGV[5]  fence of the lease

  Answers { 'started' } | { 'gone' } | { 'superseded' } | { 'lease_lost' } | { 'closed' }: an operator lets the server
    begin nothing
]]
--- @include "../../events/scripts/publish"
--- @include "includes/record"
--- @include "includes/indexes"
--- @include "includes/queue"
--- @include "includes/lease"
--- @include "includes/taking-jobs"
--- @include "includes/webhook"
local id, run, server, owner, fence = unpack(ARGV)
local job = readJob(id)
if not job then return { 'gone' } end
if job.status == 'processing' and job.run == run and job.owner == owner then return { 'started' } end
if job.status ~= 'pending' or job.run ~= run or job.server ~= server then return { 'superseded' } end
if not servesUnder(server, fence) then return { 'lease_lost' } end
if not takesJobs(server) then return { 'closed' } end
-- A job that waits in the pool has this server only as its target.
if redis.call('ZREM', queueKey(server), id) == 0 then return { 'superseded' } end
redis.call('ZREM', KEYS[1] .. 'claimed', id)
local moment = milliseconds()
writeJob(id, 'status', 'processing', 'owner', owner, 'started', moment, 'updated', moment)
clearJob(id, 'progress')
addToJob(id, 'starts', 1)
addToJob(id, 'sends', 1)
changeStatus(id, job.arrival, job.key, server, 'pending', 'processing')
publish('started', id, server, job.key, 'processing', { run = tonumber(run) })
enqueueWebhook('job.started', id)
return { 'started' }
