--[[
  The lease of a server as it is now. KEYS[1] is the lease, which Redis removes when it expires; KEYS[2] the counter
  of fences; KEYS[3] the beat: `<fence>.<renewals>.<lifetime> <holder>`. The beat changes whenever the lease is taken or
  renewed, and is deleted when the lease is released. Other processes watch it, since the clock by which Redis expires a
  lease can be set. ARGV[1] is the holder, ARGV[2] the lifetime in milliseconds.
]]
local holder, lifetime = ARGV[1], ARGV[2]
local present, beat = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[3])
local renewals, owner = string.match(beat or '', '^%d+%.(%d+)%.%d+ (.*)$')

local function keepLease (fence, count)
  redis.call('SET', KEYS[1], holder, 'PX', lifetime)
  redis.call('SET', KEYS[3], fence .. '.' .. count .. '.' .. lifetime .. ' ' .. holder)
end
