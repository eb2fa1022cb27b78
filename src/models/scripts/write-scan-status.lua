--[[
  Keeps the status of a scan and publishes it.

  KEYS[1]  common beginning of every key
  ARGV[1]  status, JSON
  ARGV[2]  data for listeners, JSON
  ARGV[3]  when the scan ended, or '' while it goes on
]]
--- @include "../../events/scripts/publish"
redis.call('SET', KEYS[1] .. 'model-scan', ARGV[1])
local data = cjson.decode(ARGV[2])
if ARGV[3] == '' then
  publishEphemeral('scan-progress', '', '', '', '', data)
else
  publish('models-scanned', '', '', '', '', data)
end
