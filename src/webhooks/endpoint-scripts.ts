/**
 * The state of endpoints, and who is calling them now; one step each, so that limits hold over all processes.
 * KEYS[1] is the common beginning of every key. Slots of a process that died are free again when their time is up.
 */
const prelude = /* lua */ `
local function endpointKey (id) return KEYS[1] .. 'webhook-endpoint:' .. id end
local function slotsKey (of) return KEYS[1] .. 'webhook-slots:' .. of end
local function number (value, otherwise) return tonumber(value or '') or otherwise end
local function free (of, limit, moment)
  redis.call('ZREMRANGEBYSCORE', slotsKey(of), '-inf', moment)
  return redis.call('ZCARD', slotsKey(of)) < limit
end
`

/**
 * ARGV: endpoint, key, shown address, slot, now, slot's lifetime, limit per key, limit per endpoint, lifetime of the
 * record in ms.
 * Answers enter | gone | disabled | busy | open, milliseconds to wait.
 */
const enterEndpoint = /* lua */ `
local id, key, url, slot, moment, lifetime, perKey, perEndpoint, kept = unpack(ARGV)
moment = tonumber(moment)
local known = redis.call('HMGET', endpointKey(id),
  'goneUntil', 'disabled', 'openUntil', 'failures', 'failingSince', 'calmUntil')
if number(known[1], 0) > moment then return { 'gone', 0 } end
if known[2] == '1' then return { 'disabled', 0 } end
local openUntil = number(known[3], 0)
if openUntil > moment then return { 'open', openUntil - moment } end
-- After a pause one call at a time tries whether the receiver is back.
local limit = tonumber(perEndpoint)
if openUntil > 0 or number(known[6], 0) > moment then limit = 1 end
if not free('endpoint:' .. id, limit, moment) or not free('key:' .. key, tonumber(perKey), moment) then
  return { 'busy', 0 }
end
for _, of in ipairs({ 'endpoint:' .. id, 'key:' .. key }) do
  redis.call('ZADD', slotsKey(of), moment + lifetime, slot)
  redis.call('PEXPIRE', slotsKey(of), lifetime * 2)
end
redis.call('HSET', endpointKey(id), 'url', url, 'key', key, 'used', moment)
redis.call('PEXPIRE', endpointKey(id), kept)
for _, owner in ipairs({ '*', key }) do
  if owner ~= '' then redis.call('ZADD', KEYS[1] .. 'webhook-endpoints:' .. owner, moment, id) end
end
return { 'enter', 0 }
`

/**
 * ARGV: endpoint, key, slot, now, outcome (success | failure | gone | none), calm until or 0, failures that open it,
 * time they must span, first pause, longest pause, time of failing that disables it, time that gone lasts.
 */
const leaveEndpoint = /* lua */ `
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
`

/** ARGV: endpoint. Forgets whatever speaks against calling it; 0 where it is not known. */
const enableEndpoint = /* lua */ `
if redis.call('EXISTS', endpointKey(ARGV[1])) == 0 then return 0 end
redis.call('HDEL', endpointKey(ARGV[1]), 'failures', 'failingSince', 'openUntil', 'pause', 'goneUntil', 'disabled', 'calmUntil')
return 1
`

export const endpointScripts = {
  enterEndpoint: prelude + enterEndpoint,
  leaveEndpoint: prelude + leaveEndpoint,
  enableEndpoint: prelude + enableEndpoint
} as const
