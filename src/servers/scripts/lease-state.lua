--[[
  The lease of a server as it is now, and its beat: `<fence>.<renewals>.<lifetime> <holder>`. Redis removes the lease
  when it expires. The beat changes whenever the lease is taken or renewed, and is deleted when the lease is released.
  Other processes watch it, since the clock by which Redis expires a lease can be set.
]]
-- The renewals and the owner of a beat; nil if there is none.
local function readBeat (beat)
  return string.match(beat or '', '^%d+%.(%d+)%.%d+ (.*)$')
end

-- The lifetime is in milliseconds.
local function writeBeat (holder, lifetime, fence, renewals)
  return fence .. '.' .. renewals .. '.' .. lifetime .. ' ' .. holder
end
