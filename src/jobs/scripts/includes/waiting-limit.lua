--[[
  The limit of waiting jobs of one access key.
]]
--- @include "../../../redis/scripts/clock"
--- @include "gather"
-- The number of waiting and reserved jobs of a key, if one more, or the first of a group of that size, would be too
-- many; nil if there is space. The first of a group reserves space for the others, which arrive within a minute.
local function waitingBeyond (key, most, group, size)
  if key == '' or most == '' then return nil end
  local promises, moment = KEYS[1] .. 'promised:' .. key, milliseconds()
  local promised, left = 0, nil
  local all = redis.call('HGETALL', promises)
  for i = 1, #all, 2 do
    local count, till = string.match(all[i + 1], '^(%d+) (%d+)$')
    if tonumber(till) < moment then
      redis.call('HDEL', promises, all[i])
    elseif all[i] == group then
      left = tonumber(count) - 1
    else
      promised = promised + tonumber(count)
    end
  end
  if left == nil then
    local index = KEYS[1] .. 'jobs:' .. key .. ':*:pending'
    local waiting = redis.call('ZCARD', index) + countGathered(index) + promised
    if waiting + size > tonumber(most) then return waiting end
    left = size - 1
  end
  if left > 0 then
    redis.call('HSET', promises, group, string.format('%d %.0f', left, moment + 60000))
    redis.call('PEXPIRE', promises, 120000)
  else
    redis.call('HDEL', promises, group)
  end
  return nil
end
