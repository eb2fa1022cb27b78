--[[
  Replaces or removes what people wrote about a LoRA, unless it changed meanwhile.

  KEYS[1]  edits by name
  ARGV[1]  name
  ARGV[2]  text that was read, or '' for none
  ARGV[3]  text to write, or '' to remove it

  Answers 1, or 0 if it changed meanwhile
]]
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1
