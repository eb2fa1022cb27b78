--[[
  Time of the next request to Civitai, by the clock of Redis, as those of processes differ. KEYS[1] holds that
  time and when it was set.
]]
--- @include "../../redis/scripts/clock"
local now = milliseconds()
local known = redis.call('GET', KEYS[1]) or '0 0'
local free, setAt = string.match(known, '^(%d+) (%d+)$')
free, setAt = tonumber(free) or 0, tonumber(setAt) or 0
-- The clock went back since: the wait lasts no longer than its own length.
if setAt > now then free = now + math.max(0, free - setAt) end

local function keepUntil (moment)
  redis.call('SET', KEYS[1], string.format('%.0f %.0f', moment, now), 'PX', math.ceil(moment - now) + 1000)
end
