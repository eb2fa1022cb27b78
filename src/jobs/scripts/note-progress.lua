--[[
  Keeps the progress of a running job and publishes it; checks at the same time whether the run is still wanted.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job
  ARGV[2]  run
  ARGV[3]  owner of the run
  ARGV[4]  progress, JSON, or '' if nothing is new

  Answers { 'noted' } | { 'cancel' } | { 'superseded' }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/record"
--- @include "includes/webhook"
-- Webhooks get progress in steps of a twentieth at least, and once a second at most.
local function isWorthSending (id, progress)
  local sent = redis.call('HMGET', jobKey(id), 'webhookEvents', 'toldAt', 'toldFraction')
  if not sent[1] then return false end
  local moment, fraction = milliseconds(), cjson.decode(progress).fraction
  local since = moment - tonumber(sent[2] or 0)
  if since >= 0 and since < 1000 then return false end
  if math.abs(fraction - tonumber(sent[3] or 0)) < 0.05 then return false end
  writeJob(id, 'toldAt', moment, 'toldFraction', fraction)
  return true
end

local id, run, owner, progress = unpack(ARGV)
local job = readJob(id)
if not job or job.status ~= 'processing' or job.run ~= run or job.owner ~= owner then return { 'superseded' } end
if progress ~= '' then
  writeJob(id, 'progress', progress)
  publishEphemeral('progress', id, job.server, job.key, 'processing', cjson.decode(progress))
  if isWorthSending(id, progress) then enqueueWebhook('job.progress', id) end
end
if redis.call('HEXISTS', jobKey(id), 'cancel') == 1 then return { 'cancel' } end
return { 'noted' }
