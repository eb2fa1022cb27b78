--[[ Whether operators let a server begin jobs. ]]
-- A process learns of a pause only after its operator got the answer, so the script that begins a job looks itself.
local function takesJobs (server)
  if redis.call('HGET', KEYS[1] .. 'runtime-settings', 'queueProcessing') == 'false' then return false end
  local record = redis.call('HGET', KEYS[1] .. 'servers', server)
  if not record then return true end
  local known = cjson.decode(record)
  return known.enabled and not known.paused and not known.draining
end
