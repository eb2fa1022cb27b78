--[[
  Puts a failed or cancelled job into the queue again, with a new queue entry, as if it were new.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job
  ARGV[2]  lane
  ARGV[3]  how many jobs of its access key can wait, or ''

  Answers { 'entered' } | { 'active', status } | { 'full', waiting jobs } | { 'gone' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/record"
--- @include "includes/indexes"
--- @include "includes/queue"
--- @include "includes/entry"
--- @include "includes/waiting-limit"
local id, lane, most = unpack(ARGV)
local job = readJob(id)
if not job then return { 'gone' } end
if job.status ~= 'failed' and job.status ~= 'cancelled' then return { 'active', job.status } end
local waiting = waitingBeyond(job.key, most, id, 1)
if waiting then return { 'full', waiting } end
local moment, run, score = milliseconds(), job.run + 1, nextScore(lane)
redis.call('HDEL', jobKey(id), 'ended', 'started', 'cancel', 'error', 'result', 'used', 'crashes', 'sends',
  'deaths', 'progress')
redis.call('HSET', jobKey(id), 'status', 'pending', 'run', run, 'firstRun', run, 'lane', lane, 'place', score,
  'updated', moment)
redis.call('ZADD', queueKey(job.server), score, id)
addRunEntry(job.server, id, run, lane, 0)
changeStatus(id, job.arrival, job.key, job.server, job.status, 'pending')
publish('accepted', id, job.server, job.key, 'pending', { position = positionOf(job.server, id) })
return { 'entered' }
