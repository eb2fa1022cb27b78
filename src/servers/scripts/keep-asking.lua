--[[
  Asks for a turn at a server, again where Redis lost the request, and shows that the caller is still there.

  KEYS[1]  turn
  KEYS[2]  turns of the server that wait
  ARGV[1]  id of the turn
  ARGV[2]  lifetime, in milliseconds
  ARGV[3]  channel on which processes learn of turns
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
