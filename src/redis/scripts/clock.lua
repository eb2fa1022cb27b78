--[[
  The clock of Redis, which all processes share. It may be set back by hours, so shorten a wait that turns out to be
  longer than its own length.
]]
local clockTime
-- The same in the whole script.
local function milliseconds ()
  if not clockTime then
    local time = redis.call('TIME')
    clockTime = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  return clockTime
end
