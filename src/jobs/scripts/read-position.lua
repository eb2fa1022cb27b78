--[[
  Reads the position of a waiting job.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job

  Answers the position, from 1, or 0 if the job does not wait
]]
--- @include "includes/pool"
local id = ARGV[1]
local values = redis.call('HMGET', jobKey(id), 'status', 'server')
if values[1] ~= 'pending' then return 0 end
if values[2] ~= '' and redis.call('ZSCORE', KEYS[1] .. 'line:' .. values[2], id) then return 1 end
return positionInPool(readPooled(id))
