--[[ The lease under which one process serves a server. ]]
-- Whether the lease of a server under this fence is the present one.
local function servesUnder (server, fence)
  return redis.call('GET', KEYS[1] .. 'lease:' .. server .. ':fence') == fence
end
