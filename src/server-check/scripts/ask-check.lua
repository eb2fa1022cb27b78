--[[
  Requests a check of a server, unless one is under way.

  KEYS[1]  check
  ARGV[1]  the check, JSON
  ARGV[2]  its lifetime, in milliseconds
  ARGV[3]  channel on which processes learn of checks
  ARGV[4]  id of the server

  Answers the check that is under way, or nil
]]
local before = redis.call('GET', KEYS[1])
if before then return before end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return false
