--[[ The fence under which a process holds the lease of a server. ]]
-- Whether another process has had the lease since. A Redis that lost its last writes can be behind.
local function hasLaterFence (counter, fence)
  return tonumber(redis.call('GET', counter) or 0) > tonumber(fence)
end
