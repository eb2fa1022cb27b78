--[[
  Finishes a running job. A job with a cancel request ends cancelled, whatever else was reported. The same claim gets
  the same answer again.

  KEYS[1]     common beginning of every key
  ARGV[1]     id of the job
  ARGV[2]     run
  ARGV[3]     owner of the run
  ARGV[4]     status at the end
  ARGV[5]     result, packed, or ''
  ARGV[6]     error, JSON, or ''
  ARGV[7]     attempts, JSON, or ''
  ARGV[8...]  names of the outputs

  Answers { 'ended', status } | { 'superseded' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/record"
--- @include "includes/has-ended"
--- @include "includes/causes"
--- @include "includes/pool"
--- @include "includes/webhook"
--- @include "includes/end-data"
local id, run, owner, status, result, failure, attempts = unpack(ARGV)
local job = readJob(id)
if not job or job.run ~= run or job.owner ~= owner then return { 'superseded' } end
if hasEnded(job.status) then return { 'ended', job.status } end
if job.status ~= 'processing' then return { 'superseded' } end
if redis.call('HEXISTS', jobKey(id), 'cancel') == 1 then status = 'cancelled'; failure = '' end
local moment = milliseconds()
writeJob(id, 'status', status, 'ended', moment, 'updated', moment)
clearJob(id, 'progress')
if result ~= '' then writeJob(id, 'result', result) end
if failure ~= '' then writeJob(id, 'error', failure) end
if attempts ~= '' then writeJob(id, 'attempts', attempts) end
for i = 8, #ARGV do
  redis.call('HSET', KEYS[1] .. 'outputs', ARGV[i], id)
  publish('image', id, job.server, job.key, 'processing', { filename = ARGV[i] })
end
-- The share pays what it really took.
local times, pooled = redis.call('HMGET', jobKey(id), 'started', 'charged'), readPooled(id)
if times[1] and times[2] then
  local took = math.min(math.max(0, moment - tonumber(times[1])), 86400000)
  charge(pooled.share, costOf({ ms = took, share = pooled.share, weight = pooled.weight }) - pooled.charged)
end
clearJob(id, 'charged', 'claimed')
-- A completed job never waits again.
if status == 'completed' then
  clearJob(id, 'class', 'needs', 'list', 'order', 'ms', 'weight', 'cost', 'share', 'user', 'target')
end
changeStatus(id, job.arrival, job.key, job.server, 'processing', status)
if status == 'failed' then enterCause(id, job, failure) else leaveCause(id, job) end
publish(status, id, job.server, job.key, status, endData(failure, { unpack(ARGV, 8) }))
enqueueWebhook('job.' .. status, id)
return { 'ended', status }
