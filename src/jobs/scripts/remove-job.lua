--[[
  Deletes the record of a finished job and its entries in the indexes.

  KEYS[1]     common beginning of every key
  ARGV[1]     id of the job
  ARGV[2...]  names of its outputs

  Answers { 'removed' } | { 'active', status } | { 'gone' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/record"
--- @include "includes/has-ended"
--- @include "includes/causes"
--- @include "includes/search"
local id = ARGV[1]
local job = readJob(id)
if not job then return { 'gone' } end
if not hasEnded(job.status) then return { 'active', job.status } end
leaveSearch(id, job.arrival)
leaveIndexes(id, job.key, job.server, job.status)
leaveCause(id, job)
if job.bulk ~= '' then redis.call('ZREM', KEYS[1] .. 'bulk:' .. job.bulk .. ':jobs', id) end
redis.call('DEL', jobKey(id))
for i = 2, #ARGV do redis.call('HDEL', KEYS[1] .. 'outputs', ARGV[i]) end
publish('removed', id, job.server, job.key, job.status)
return { 'removed' }
