--[[
  Takes a slot of an endpoint and one of its access key.

  KEYS[1]   common beginning of every key
  ARGV[1]   id of the endpoint
  ARGV[2]   id of the access key, or ''
  ARGV[3]   address without secrets
  ARGV[4]   slot: id of the delivery
  ARGV[5]   now, in milliseconds
  ARGV[6]   longest time for which a slot is held, in milliseconds
  ARGV[7]   slots of an access key
  ARGV[8]   slots of an endpoint
  ARGV[9]   lifetime of the record, in milliseconds
  ARGV[10]  name under which the caller waits

  Answers { 'enter' | 'gone' | 'disabled' | 'busy', 0 } | { 'open', milliseconds to wait }
]]
--- @include "endpoint"
local id, key, url, slot, moment, lifetime, perKey, perEndpoint, kept, name = unpack(ARGV)
moment = tonumber(moment)
local known = redis.call('HMGET', endpointKey(id), 'goneUntil', 'disabled', 'openUntil', 'pause')
if number(known[1], 0) > moment then return { 'gone', 0 } end
if known[2] == '1' then return { 'disabled', 0 } end
local openUntil = number(known[3], 0)
-- If a pause or a slot lasts longer than its own length, the clock went back. Clocks of processes differ a little.
if openUntil - moment > number(known[4], 0) and openUntil > 0 then
  openUntil = moment + number(known[4], 0)
  redis.call('HSET', endpointKey(id), 'openUntil', string.format('%.0f', openUntil))
end
for _, of in ipairs({ 'endpoint:' .. id, 'key:' .. key }) do
  redis.call('ZREMRANGEBYSCORE', slotsKey(of), '(' .. string.format('%.0f', moment + 2 * lifetime), '+inf')
end
if openUntil > moment then return { 'open', openUntil - moment } end
local function wait (of)
  redis.call('ZADD', waitingKey(of), 'NX', moment, name)
  redis.call('PEXPIRE', waitingKey(of), kept)
  return { 'busy', 0 }
end
-- Another process is possibly sending this very event, unless it died meanwhile.
local taken = number(redis.call('ZSCORE', slotsKey('endpoint:' .. id), slot), 0)
if taken > moment then return { 'open', taken - moment } end
if not hasRoom('endpoint:' .. id, roomAt(id, perEndpoint, moment), moment) then return wait('endpoint:' .. id) end
if not hasRoom('key:' .. key, tonumber(perKey), moment) then return wait('key:' .. key) end
for _, of in ipairs({ 'endpoint:' .. id, 'key:' .. key }) do
  redis.call('ZREM', waitingKey(of), name)
  redis.call('ZADD', slotsKey(of), moment + lifetime, slot)
  redis.call('PEXPIRE', slotsKey(of), lifetime * 2)
end
redis.call('HSET', endpointKey(id), 'url', url, 'key', key, 'used', moment)
redis.call('PEXPIRE', endpointKey(id), kept)
for _, owner in ipairs({ '*', key }) do
  if owner ~= '' then redis.call('ZADD', KEYS[1] .. 'webhook-endpoints:' .. owner, moment, id) end
end
return { 'enter', 0 }
