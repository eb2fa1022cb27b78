--[[
  The lease of a server as it is now, and its beat: `<fence>.<renewals>.<lifetime> <holder>`. Redis removes the lease
  when it expires. The beat changes whenever the lease is taken or renewed, and is deleted when the lease is released.
  Other processes watch it, since the clock by which Redis expires a lease can be set.
]]
-- Its holder as `present`, and `beat` with its `renewals` and `owner`.
local function readLease (leaseKey, beatKey)
  local present, beat = redis.call('GET', leaseKey), redis.call('GET', beatKey)
  local renewals, owner = string.match(beat or '', '^%d+%.(%d+)%.%d+ (.*)$')
  return { present = present, beat = beat, renewals = renewals, owner = owner }
end

-- The lifetime is in milliseconds.
local function keepLease (leaseKey, beatKey, holder, lifetime, fence, renewals)
  redis.call('SET', leaseKey, holder, 'PX', lifetime)
  redis.call('SET', beatKey, fence .. '.' .. renewals .. '.' .. lifetime .. ' ' .. holder)
end
