--[[
  Takes the name that has waited longest for an endpoint, or else for its access key, off the list.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the endpoint
  ARGV[2]  id of the access key, or ''
  ARGV[3]  now, in milliseconds
  ARGV[4]  slots of an access key
  ARGV[5]  slots of an endpoint

  Answers the name, or nil if there is no free slot or nothing waits
]]
--- @include "endpoint"
local id, key, moment, perKey, perEndpoint = unpack(ARGV)
moment = tonumber(moment)
if not hasRoom('key:' .. key, tonumber(perKey), moment) then return false end
if hasRoom('endpoint:' .. id, roomAt(id, perEndpoint, moment), moment) then
  local first = redis.call('ZPOPMIN', waitingKey('endpoint:' .. id))
  if first[1] then return first[1] end
end
return redis.call('ZPOPMIN', waitingKey('key:' .. key))[1] or false
