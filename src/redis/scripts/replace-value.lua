--[[
  Replaces or removes a value, unless it changed meanwhile.

  KEYS[1]  value
  ARGV[1]  text that was read, or '' for none
  ARGV[2]  text to write, or '' to remove the value

  Answers 1, or 0 if it changed meanwhile
]]
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2]) end
return 1
