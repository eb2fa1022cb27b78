import { announceLua } from '../events/announce.ts'

/**
 * Changes of deliveries, one script each. KEYS[1] is the common beginning of every key.
 *
 * Listeners hear of each, live: what was missed while a connection was away, lists tell.
 *
 * Indexes: one sorted set for each combination of (key or any, state or any), scored by moment, and one for each job.
 */
const prelude = announceLua + /* lua */ `
local function recordKey (id) return KEYS[1] .. 'delivery:' .. id end
local function eachIndex (key, state, act)
  act(KEYS[1] .. 'deliveries:*:' .. state)
  if key ~= '' then act(KEYS[1] .. 'deliveries:' .. key .. ':' .. state) end
end
local function enter (id, key, state, created)
  eachIndex(key, state, function (index) redis.call('ZADD', index, created, id) end)
end
local function leave (id, key, state)
  eachIndex(key, state, function (index) redis.call('ZREM', index, id) end)
end
local function tell (id)
  local known = redis.call('HMGET', recordKey(id), 'type', 'state', 'jobId', 'keyId')
  announceLive('delivery', known[3] or '', '', known[4] or '', '', { delivery_id = id, type = known[1], state = known[2] })
end
local function setState (id, key, from, to, created)
  if from == to then return end
  leave(id, key, from)
  enter(id, key, to, created)
end
`

/** ARGV: id, key, job, moment, then fields and values. Answers 1, or 0 where it is known already. */
const createDelivery = /* lua */ `
local id, key, job, created = unpack(ARGV, 1, 4)
if redis.call('EXISTS', recordKey(id)) == 1 then return 0 end
redis.call('HSET', recordKey(id), 'state', 'pending', 'roundAt', created, unpack(ARGV, 5))
enter(id, key, 'pending', created)
enter(id, key, '*', created)
if job ~= '' then redis.call('ZADD', KEYS[1] .. 'job:' .. job .. ':deliveries', created, id) end
tell(id)
return 1
`

/**
 * ARGV: id, round, state, reason, next moment or '', now, attempt JSON or '', status of the answer or '', failures of
 * this attempt (1 or 0). Answers 1, or 0 where another round has begun or it has ended.
 */
const changeDelivery = /* lua */ `
local id, round, state, reason, following, moment, attempt, status, failures = unpack(ARGV)
local known = redis.call('HMGET', recordKey(id), 'state', 'round', 'keyId', 'createdAt')
if known[1] ~= 'pending' or (known[2] or '0') ~= round then return 0 end
redis.call('HSET', recordKey(id), 'state', state, 'reason', reason, 'nextAt', following, 'nextSetAt', moment)
if state ~= 'pending' then redis.call('HSET', recordKey(id), 'finishedAt', moment) end
if attempt ~= '' then
  redis.call('HINCRBY', recordKey(id), 'attempts', 1)
  redis.call('HINCRBY', recordKey(id), 'failures', failures)
  redis.call('HSET', recordKey(id), 'lastStatus', status)
  redis.call('RPUSH', recordKey(id) .. ':attempts', attempt)
  redis.call('LTRIM', recordKey(id) .. ':attempts', -100, -1)
end
setState(id, known[3] or '', 'pending', state, known[4])
tell(id)
return 1
`

/** ARGV: id, now. Begins a new round of sending; answers its number, or -1 where there is no such delivery. */
const renewDelivery = /* lua */ `
local id, moment = unpack(ARGV)
local known = redis.call('HMGET', recordKey(id), 'state', 'keyId', 'createdAt')
if not known[1] then return -1 end
local round = redis.call('HINCRBY', recordKey(id), 'round', 1)
redis.call('HSET', recordKey(id), 'state', 'pending', 'reason', '', 'failures', 0, 'roundAt', moment, 'nextAt', moment,
  'nextSetAt', moment)
redis.call('HDEL', recordKey(id), 'finishedAt')
setState(id, known[2] or '', known[1], 'pending', known[3])
tell(id)
return round
`

/** ARGV: id. */
const removeDelivery = /* lua */ `
local id = ARGV[1]
local known = redis.call('HMGET', recordKey(id), 'state', 'keyId', 'jobId')
if not known[1] then
  redis.call('ZREM', KEYS[1] .. 'deliveries:*:*', id)
  return 0
end
leave(id, known[2] or '', known[1])
leave(id, known[2] or '', '*')
if known[3] and known[3] ~= '' then redis.call('ZREM', KEYS[1] .. 'job:' .. known[3] .. ':deliveries', id) end
redis.call('DEL', recordKey(id), recordKey(id) .. ':attempts')
return 1
`

export const deliveryScripts = {
  createDelivery: prelude + createDelivery,
  changeDelivery: prelude + changeDelivery,
  renewDelivery: prelude + renewDelivery,
  removeDelivery: prelude + removeDelivery
} as const
