--[[
  Takes the next slot for a request.

  KEYS[1]  time of the next free slot
  ARGV[1]  interval between two requests, in milliseconds
  ARGV[2]  longest wait, in milliseconds

  Answers how long to wait, in milliseconds, or nil if that is too long; then nothing is taken
]]
--- @include "next-free"
local turn = math.max(now, free)
if turn - now > tonumber(ARGV[2]) then return false end
keepUntil(turn + tonumber(ARGV[1]))
return turn - now
