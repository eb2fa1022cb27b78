--[[
  Returns a running job to the queue, ahead of its class, with a new queue entry. A job that was sent as often as
  allowed, which is the allowed attempts and once more for each time that its server died, fails instead. The same claim
  gets the same answer again.

  KEYS[1]   common beginning of every key
  ARGV[1]   id of the job
  ARGV[2]   run
  ARGV[3]   owner of the run
  ARGV[4]   lane
  ARGV[5]   used attempts to add
  ARGV[6]   crashes to add
  ARGV[7]   attempts, JSON, or ''
  ARGV[8]   what happened to the server: answers | gone | unsent (it certainly was not sent) | stopped (by us, in order)
  ARGV[9]   allowed attempts
  ARGV[10]  error of a job that fails here, JSON
  ARGV[11]  fence of the lease, or '' if the run itself returns the job
  ARGV[12]  delay of its entry, in milliseconds

  Answers { 'returned' } | { 'cancelled' } | { 'spent' } | { 'superseded' } | { 'lease_lost' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/record"
--- @include "includes/indexes"
--- @include "includes/queue"
--- @include "includes/entry"
--- @include "includes/lease"
--- @include "includes/webhook"
--- @include "includes/end-data"
local id, run, owner, lane, used, crashes, attempts, fate, allowed, failure, fence, delay = unpack(ARGV)
local job = readJob(id)
if not job or job.owner ~= owner then return { 'superseded' } end
local following = string.format('%.0f', run + 1)
if job.status == 'pending' and job.run == following then return { 'returned' } end
if job.run ~= run then return { 'superseded' } end
if job.status == 'cancelled' then return { 'cancelled' } end
if job.status == 'failed' then return { 'spent' } end
if job.status ~= 'processing' then return { 'superseded' } end
if fence ~= '' and not servesUnder(job.server, fence) then return { 'lease_lost' } end
local moment = milliseconds()
redis.call('HDEL', jobKey(id), 'progress')
redis.call('HSET', jobKey(id), 'updated', moment)
if attempts ~= '' then redis.call('HSET', jobKey(id), 'attempts', attempts) end
if redis.call('HEXISTS', jobKey(id), 'cancel') == 1 then
  redis.call('HSET', jobKey(id), 'status', 'cancelled', 'ended', moment)
  redis.call('HDEL', jobKey(id), 'place')
  changeStatus(id, job.arrival, job.key, job.server, 'processing', 'cancelled')
  publish('cancelled', id, job.server, job.key, 'cancelled')
  enqueueWebhook('job.cancelled', id)
  return { 'cancelled' }
end
redis.call('HINCRBY', jobKey(id), 'used', used)
redis.call('HINCRBY', jobKey(id), 'crashes', crashes)
if fate == 'gone' then redis.call('HINCRBY', jobKey(id), 'deaths', 1) end
if fate == 'unsent' or fate == 'stopped' then redis.call('HINCRBY', jobKey(id), 'sends', -1) end
local sent = redis.call('HMGET', jobKey(id), 'sends', 'deaths')
if tonumber(sent[1] or 0) - tonumber(sent[2] or 0) >= tonumber(allowed) then
  redis.call('HSET', jobKey(id), 'status', 'failed', 'ended', moment, 'error', failure)
  redis.call('HDEL', jobKey(id), 'place')
  changeStatus(id, job.arrival, job.key, job.server, 'processing', 'failed')
  publish('failed', id, job.server, job.key, 'failed', endData(failure, {}))
  enqueueWebhook('job.failed', id)
  return { 'spent' }
end
local score = lane == job.lane and job.place or nextScore(lane)
redis.call('HSET', jobKey(id), 'status', 'pending', 'lane', lane, 'place', score, 'run', following)
redis.call('ZADD', queueKey(job.server), score, id)
addRunEntry(job.server, id, following, lane, delay)
changeStatus(id, job.arrival, job.key, job.server, 'processing', 'pending')
publish('returned', id, job.server, job.key, 'pending', { position = positionOf(job.server, id) })
return { 'returned' }
