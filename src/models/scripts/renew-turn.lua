--[[
  Keeps the turn in a folder, if it is still ours.

  KEYS[1]  turn
  ARGV[1]  token of the holder
  ARGV[2]  lifetime, in milliseconds
]]
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
