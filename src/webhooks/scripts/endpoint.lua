--[[
  The state of endpoints, and the calls that run; one step each, so that limits hold over all processes. KEYS[1] is
  the common beginning of every key. Slots of a process that died are free again when their time is over. A caller that
  finds no slot is noted as waiting, for the endpoint or for its access key, so that the next one to leave can let it
  in.
]]
local function endpointKey (id) return KEYS[1] .. 'webhook-endpoint:' .. id end
local function slotsKey (of) return KEYS[1] .. 'webhook-slots:' .. of end
local function waitingKey (of) return KEYS[1] .. 'webhook-waiting:' .. of end
local function number (value, otherwise) return tonumber(value or '') or otherwise end

-- After a pause, or if it asked for fewer, one call at a time.
local function roomAt (id, perEndpoint, moment)
  local known = redis.call('HMGET', endpointKey(id), 'openUntil', 'calmUntil')
  if number(known[1], 0) > 0 or number(known[2], 0) > moment then return 1 end
  return tonumber(perEndpoint)
end

local function hasRoom (of, limit, moment)
  redis.call('ZREMRANGEBYSCORE', slotsKey(of), '-inf', moment)
  return redis.call('ZCARD', slotsKey(of)) < limit
end
