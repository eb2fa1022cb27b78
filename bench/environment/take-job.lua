--[[
  Gives one waiting job to a server as a claim does, whatever waits ahead of it: for filling Redis with jobs that ended.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job
  ARGV[2]  id of the server

  Answers 1
]]
--- @include "../../src/jobs/scripts/includes/pool"
local id, server = unpack(ARGV)
leavePool(readPooled(id))
redis.call('ZADD', KEYS[1] .. 'line:' .. server, 0, id)
return 1
