--[[
  Ends the turn in a folder, if it is still ours.

  KEYS[1]  turn
  ARGV[1]  token of the holder
]]
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
