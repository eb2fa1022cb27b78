--[[
  Holds back all requests for a while.

  KEYS[1]  time of the next free slot
  ARGV[1]  for how long, in milliseconds

  Answers 1
]]
--- @include "next-free"
keepUntil(math.max(free, now + tonumber(ARGV[1])))
return 1
