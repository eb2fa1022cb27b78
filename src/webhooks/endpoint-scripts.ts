/**
 * The state of endpoints, and who is calling them now; one step each, so that limits hold over all processes.
 * KEYS[1] is the common beginning of every key. Slots of a process that died are free again when their time is up.
 * Who finds no slot is noted as waiting, for the endpoint or for its key, so that whoever leaves can see to it next.
 */
const prelude = /* lua */ `
local function endpointKey (id) return KEYS[1] .. 'webhook-endpoint:' .. id end
local function slotsKey (of) return KEYS[1] .. 'webhook-slots:' .. of end
local function number (value, otherwise) return tonumber(value or '') or otherwise end
local function waitingKey (of) return KEYS[1] .. 'webhook-waiting:' .. of end
-- After a pause, or where it asked for fewer, one call at a time.
local function roomAt (id, perEndpoint, moment)
  local known = redis.call('HMGET', endpointKey(id), 'openUntil', 'calmUntil')
  if number(known[1], 0) > 0 or number(known[2], 0) > moment then return 1 end
  return tonumber(perEndpoint)
end
local function free (of, limit, moment)
  redis.call('ZREMRANGEBYSCORE', slotsKey(of), '-inf', moment)
  return redis.call('ZCARD', slotsKey(of)) < limit
end
`

/**
 * ARGV: endpoint, key, shown address, slot, now, slot's lifetime, limit per key, limit per endpoint, lifetime of the
 * record in ms, name under which it waits.
 * Answers enter | gone | disabled | busy | open, milliseconds to wait.
 */
const enterEndpoint = /* lua */ `
local id, key, url, slot, moment, lifetime, perKey, perEndpoint, kept, name = unpack(ARGV)
moment = tonumber(moment)
local known = redis.call('HMGET', endpointKey(id), 'goneUntil', 'disabled', 'openUntil', 'pause')
if number(known[1], 0) > moment then return { 'gone', 0 } end
if known[2] == '1' then return { 'disabled', 0 } end
local openUntil = number(known[3], 0)
-- No pause lasts longer than it was to, and no slot: the clock went back. Those of processes differ a little.
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
-- Another process may be sending this very event, unless it died meanwhile.
local taken = number(redis.call('ZSCORE', slotsKey('endpoint:' .. id), slot), 0)
if taken > moment then return { 'open', taken - moment } end
if not free('endpoint:' .. id, roomAt(id, perEndpoint, moment), moment) then return wait('endpoint:' .. id) end
if not free('key:' .. key, tonumber(perKey), moment) then return wait('key:' .. key) end
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
`

/**
 * ARGV: endpoint, key, now, limit per key, limit per endpoint. Takes the name of who has waited longest for the
 * endpoint, or else for its key, off the list; nothing where there is no room, or nobody.
 */
const takeWaiting = /* lua */ `
local id, key, moment, perKey, perEndpoint = unpack(ARGV)
moment = tonumber(moment)
if not free('key:' .. key, tonumber(perKey), moment) then return false end
if free('endpoint:' .. id, roomAt(id, perEndpoint, moment), moment) then
  local first = redis.call('ZPOPMIN', waitingKey('endpoint:' .. id))
  if first[1] then return first[1] end
end
return redis.call('ZPOPMIN', waitingKey('key:' .. key))[1] or false
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
  takeWaiting: prelude + takeWaiting,
  enableEndpoint: prelude + enableEndpoint
} as const
