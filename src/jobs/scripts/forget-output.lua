--[[
  Removes one image from a finished job.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job
  ARGV[2]  result as it was read, packed
  ARGV[3]  result without the image, packed
  ARGV[4]  name of the image

  Answers { 'forgotten' } | { 'changed' } if the result has changed meanwhile | { 'gone' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/record"
local id, before, after, name = unpack(ARGV)
local job = readJob(id)
if not job then return { 'gone' } end
if redis.call('HGET', jobKey(id), 'result') ~= before then return { 'changed' } end
writeJob(id, 'result', after, 'updated', milliseconds())
redis.call('HDEL', KEYS[1] .. 'outputs', name)
publish('image-removed', id, job.server, job.key, job.status, { filename = name })
return { 'forgotten' }
