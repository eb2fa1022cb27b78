--[[
  The clock of Redis, which all processes share. It may be set back by hours, so shorten a wait that turns out to be
  longer than its own length.
]]
local function milliseconds ()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
