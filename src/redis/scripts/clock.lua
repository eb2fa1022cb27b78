--[[
  The clock of Redis, which all processes share. It may be set back by hours, so shorten a wait that turns out to be
  longer than its own length. Time stands still within a script.
]]
local timeOfScript
local function milliseconds ()
  if not timeOfScript then
    local time = redis.call('TIME')
    timeOfScript = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  return timeOfScript
end
