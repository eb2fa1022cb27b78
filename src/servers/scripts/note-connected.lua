--[[
  Notes that a server which was away accepts connections again.

  KEYS[1]  note
  ARGV[1]  how long to send no requests, in milliseconds

  Answers 1, or 0 if it was not away
]]
if redis.call('GET', KEYS[1]) ~= 'away' then return 0 end
redis.call('SET', KEYS[1], 'starting', 'PX', ARGV[1])
return 1
