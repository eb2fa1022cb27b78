--[[
  Reads the positions of waiting jobs.

  KEYS[1]     common beginning of every key
  ARGV[1...]  ids of jobs

  Answers the position of each, from 1, or 0 if the job does not wait
]]
--- @include "includes/pool"
-- Nothing changes meanwhile.
local seen = {}
local function positionOf (id)
  local values = redis.call('HMGET', jobKey(id), 'status', 'server')
  if values[1] ~= 'pending' then return 0 end
  if values[2] ~= '' and redis.call('ZSCORE', KEYS[1] .. 'line:' .. values[2], id) then return 1 end
  return positionInPool(readPooled(id), seen)
end

local answer = {}
for i = 1, #ARGV do answer[i] = positionOf(ARGV[i]) end
return answer
