--[[ Tells which statuses are final. ]]
local function hasEnded (status)
  return status == 'completed' or status == 'failed' or status == 'cancelled'
end
