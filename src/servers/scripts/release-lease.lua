--[[
  Releases the lease of a server, if it is ours.

  KEYS[1]  lease
  KEYS[2]  beat
  ARGV[1]  holder

  Answers 1
]]
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
if string.match(redis.call('GET', KEYS[2]) or '', '^%S+ (.*)$') == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
