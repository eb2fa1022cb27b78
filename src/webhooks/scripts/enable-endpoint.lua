--[[
  Clears the failures of an endpoint.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the endpoint

  Answers 1, or 0 if it is not known
]]
--- @include "endpoint"
if redis.call('EXISTS', endpointKey(ARGV[1])) == 0 then return 0 end
redis.call('HDEL', endpointKey(ARGV[1]), 'failures', 'failingSince', 'openUntil', 'pause', 'goneUntil', 'disabled',
  'calmUntil')
return 1
