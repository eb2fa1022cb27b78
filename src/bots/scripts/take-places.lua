--[[
  Reserves places for jobs of a user, if the limit and the cooldown of the user allow it. Places are scored by the
  time at which they were taken.

  KEYS[1]     common beginning of every key
  KEYS[2]     places of the user
  ARGV[1]     most jobs at once, or 0
  ARGV[2]     cooldown, in milliseconds
  ARGV[3]     for how long a place is kept without its job, in milliseconds
  ARGV[4...]  ids of the jobs

  Answers { places taken, or -1 where these were reserved, milliseconds to wait }
]]
--- @include "../../redis/scripts/clock"
local now, most, cooldown, within = milliseconds(), tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local taken, lastEnd = 0, tonumber(redis.call('GET', KEYS[2] .. ':ended') or 0)
local places = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for i = 1, #places, 2 do
  local job = redis.call('HMGET', KEYS[1] .. 'job:' .. places[i], 'status', 'ended')
  local waits = not job[1] and math.abs(now - tonumber(places[i + 1])) < within
  if waits or job[1] == 'pending' or job[1] == 'processing' then
    taken = taken + 1
  else
    redis.call('ZREM', KEYS[2], places[i])
    local ended = tonumber(job[2] or 0)
    if ended and ended > lastEnd then lastEnd = ended end
  end
end
-- If the clock went back since, the cooldown begins now.
lastEnd = math.min(lastEnd, now)
if cooldown > 0 and lastEnd > 0 and lastEnd + cooldown > now then
  redis.call('SET', KEYS[2] .. ':ended', lastEnd, 'PX', cooldown)
end
if most > 0 and taken >= most then return { taken, 0 } end
if cooldown > 0 and taken == 0 and lastEnd + cooldown > now then return { 0, lastEnd + cooldown - now } end
for i = 4, #ARGV do redis.call('ZADD', KEYS[2], now, ARGV[i]) end
return { -1, 0 }
