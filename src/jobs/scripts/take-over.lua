--[[
  Lists the jobs that a lost process can have sent to a server without a note in their records, and keeps the list for
  the case that the process which takes the server over dies before it has stopped them.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the server
  ARGV[2]  fence of the lease

  Answers the ids
]]
--- @include "includes/withdrawn"
--- @include "includes/queue"
--- @include "includes/lease"
local server, fence = unpack(ARGV)
if not servesUnder(server, fence) then return {} end
for _, id in ipairs(redis.call('ZRANGE', queueKey(server), 0, -1)) do noteWithdrawn(id, server) end
local ids = withdrawnFrom(server)
for _, id in ipairs(ids) do noteWithdrawn(id, server) end
return ids
