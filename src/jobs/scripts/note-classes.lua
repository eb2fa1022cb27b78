--[[
  Notes which classes of jobs a server can run, for the process that holds its lease.

  KEYS[1]     common beginning of every key
  ARGV[1]     id of the server
  ARGV[2]     fence of the lease
  ARGV[3...]  class, 1 or 0, ...; none forgets all answers

  Answers 1, or 0 if the lease is lost
]]
--- @include "includes/lease"
local server, fence = unpack(ARGV)
if not servesUnder(server, fence) then return 0 end
if #ARGV == 2 then
  redis.call('DEL', KEYS[1] .. 'can:' .. server)
else
  redis.call('HSET', KEYS[1] .. 'can:' .. server, unpack(ARGV, 3))
end
return 1
