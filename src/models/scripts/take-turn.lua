--[[
  Takes the next moment at which a request may go out.

  KEYS[1]  the next free moment
  ARGV[1]  interval between two requests, in milliseconds
  ARGV[2]  longest wait, in milliseconds

  Answers how long to wait, in milliseconds, or nil where that is too long; then nothing is taken
]]
--- @include "next-free"
local turn = math.max(now, free)
if turn - now > tonumber(ARGV[2]) then return false end
keepUntil(turn + tonumber(ARGV[1]))
return turn - now
