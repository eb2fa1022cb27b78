--[[
  Gives a waiting job another server, another lane, or only a new run, and replaces its queue entry.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job
  ARGV[2]  id of the server
  ARGV[3]  lane, or `first` for a lane ahead of all jobs that wait there
  ARGV[4]  run that must wait, or '' for any
  ARGV[5]  new priority, or ''

  Answers { 'moved' } | { 'there' } | { 'not_pending', status } | { 'superseded' } | { 'gone' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/record"
--- @include "includes/indexes"
--- @include "includes/queue"
--- @include "includes/entry"
local id, server, lane, expected, priority = unpack(ARGV)
local job = readJob(id)
if not job then return { 'gone' } end
if job.status ~= 'pending' then return { 'not_pending', job.status } end
if expected ~= '' and expected ~= job.run then return { 'superseded' } end
if lane == 'first' then
  local head = redis.call('ZRANGE', queueKey(server), 0, 0)[1]
  if head == id then return { 'there' } end
  local ahead = head and redis.call('HGET', jobKey(head), 'lane') or job.lane
  lane = string.format('%.0f', math.max(1, math.min(tonumber(ahead) - 1, tonumber(job.lane))))
end
if priority ~= '' then redis.call('HSET', jobKey(id), 'priority', priority) end
local run = job.run + 1
local score = lane == job.lane and job.place or nextScore(lane)
redis.call('ZREM', queueKey(job.server), id)
redis.call('ZADD', queueKey(server), score, id)
removeRunEntry(job.server, id, job.run)
addRunEntry(server, id, run, lane, 0)
if server ~= job.server then
  leaveIndexes(id, job.key, job.server, 'pending')
  enterIndexes(id, job.arrival, job.key, server, 'pending')
end
redis.call('HSET', jobKey(id), 'server', server, 'lane', lane, 'place', score, 'run', run, 'updated', milliseconds())
publish('moved', id, server, job.key, 'pending', { position = positionOf(server, id), from = job.server })
return { 'moved' }
