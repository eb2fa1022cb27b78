--[[
  Jobs that came back with a delay rest outside the pool until it is over.
]]
--- @include "../../../redis/scripts/clock"
--- @include "pool"
--- @include "make-way"
-- Puts the jobs whose delay is over into the pool. A clock that was set back must not make it longer.
local function wakeRested (patience)
  local now = milliseconds()
  local resting = redis.call('ZRANGE', KEYS[1] .. 'resting', 0, 49, 'WITHSCORES')
  for i = 1, #resting, 2 do
    local id, due = resting[i], tonumber(resting[i + 1])
    local values = redis.call('HMGET', jobKey(id), 'status', 'rest')
    if due <= now or due - tonumber(values[2] or 0) > now + 1000 then
      redis.call('ZREM', KEYS[1] .. 'resting', id)
      if values[1] == 'pending' then
        local job = readPooled(id)
        enterPool(job)
        if laneOf(job.list) == '' then makeWay(job.class, function () return patience end) end
        announce(job.class)
      end
    end
  end
end

-- Milliseconds until the next one can enter the pool, or -1.
local function nextRested ()
  local first = redis.call('ZRANGE', KEYS[1] .. 'resting', 0, 0, 'WITHSCORES')
  if not first[1] then return -1 end
  local rest = tonumber(redis.call('HGET', jobKey(first[1]), 'rest') or 0)
  return math.min(math.max(0, tonumber(first[2]) - milliseconds()), rest)
end
