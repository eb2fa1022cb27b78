--[[
  Jobs that a server can still work on although their records do not say so, or no longer do. A process that takes the
  server over stops their generations before it sends anything.
]]
--- @include "../../../redis/scripts/clock"
-- For longer than a process needs to take over the lease of a lost one, in seconds.
local withdrawnFor = 20

local function withdrawnKey (server) return KEYS[1] .. 'withdrawn:' .. server end

-- Oldest first.
local function withdrawnFrom (server)
  return redis.call('ZRANGEBYSCORE', withdrawnKey(server), milliseconds() - withdrawnFor * 1000, '+inf')
end

local function noteWithdrawn (id, server)
  local key, now = withdrawnKey(server), milliseconds()
  redis.call('ZADD', key, now, id)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - withdrawnFor * 1000)
  redis.call('EXPIRE', key, withdrawnFor)
end
