--[[
  The jobs that a server has claimed and not begun: a sorted set, scored by the time of the claim.
]]
local function queueKey (server) return KEYS[1] .. 'line:' .. server end
