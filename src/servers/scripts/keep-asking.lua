--[[
  Requests an exclusive call to a server, again if Redis lost the request, and shows that the process still lives.

  KEYS[1]  call
  KEYS[2]  waiting exclusive calls of the server
  ARGV[1]  id of the call
  ARGV[2]  lifetime, in milliseconds
  ARGV[3]  channel on which processes learn of exclusive calls
  ARGV[4]  id of the server

  Answers 'waiting' or 'granted'
]]
local state = redis.call('GET', KEYS[1])
if not state then
  state = 'waiting'
  redis.call('LREM', KEYS[2], 0, ARGV[1])
  redis.call('RPUSH', KEYS[2], ARGV[1])
end
redis.call('SET', KEYS[1], state, 'PX', ARGV[2])
if state == 'waiting' then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
return state
