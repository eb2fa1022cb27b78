--[[
  Frees the slots of a call and records its outcome. Failures pause an endpoint, for twice as long each time; failing
  for long disables it.

  KEYS[1]   common beginning of every key
  ARGV[1]   id of the endpoint
  ARGV[2]   id of the access key, or ''
  ARGV[3]   slot: id of the delivery
  ARGV[4]   now, in milliseconds
  ARGV[5]   outcome: success | failure | gone | none
  ARGV[6]   time until which it gets one call at a time, or 0
  ARGV[7]   failures that pause it
  ARGV[8]   time that they must span, in milliseconds
  ARGV[9]   first pause, in milliseconds
  ARGV[10]  longest pause, in milliseconds
  ARGV[11]  time of failing that disables it, in milliseconds
  ARGV[12]  for how long `gone` holds, in milliseconds

  Answers 1
]]
--- @include "endpoint"
local id, key, slot, moment, outcome, calm, most, span, first, longest, disabling, gone = unpack(ARGV)
moment = tonumber(moment)
redis.call('ZREM', slotsKey('endpoint:' .. id), slot)
redis.call('ZREM', slotsKey('key:' .. key), slot)
if calm ~= '0' then redis.call('HSET', endpointKey(id), 'calmUntil', calm) end
if outcome == 'success' then
  redis.call('HDEL', endpointKey(id), 'failures', 'failingSince', 'openUntil', 'pause', 'goneUntil', 'disabled')
  redis.call('HSET', endpointKey(id), 'succeeded', moment)
elseif outcome == 'gone' then
  redis.call('HSET', endpointKey(id), 'goneUntil', moment + gone)
elseif outcome == 'failure' then
  local failures = redis.call('HINCRBY', endpointKey(id), 'failures', 1)
  redis.call('HSETNX', endpointKey(id), 'failingSince', moment)
  local since = moment - tonumber(redis.call('HGET', endpointKey(id), 'failingSince'))
  if since >= tonumber(disabling) then
    redis.call('HSET', endpointKey(id), 'disabled', '1')
  elseif failures >= tonumber(most) and since >= tonumber(span) then
    local before = number(redis.call('HGET', endpointKey(id), 'pause'), 0)
    local pause = before == 0 and tonumber(first) or math.min(before * 2, tonumber(longest))
    redis.call('HSET', endpointKey(id), 'pause', pause, 'openUntil', moment + pause)
  end
end
return 1
