import { announceLua } from '../../events/announce.ts'

/**
 * What all scripts of the job record share. KEYS[1] is the common beginning of every key, hash tag included;
 * further keys are derived from it, which a cluster allows because the tag fixes the slot.
 *
 * Indexes: one sorted set for each combination of (key or any, server or any, status or any), scored by arrival,
 * so that every filter of the list is one exact range. Line: one sorted set per server, scored by place.
 */
export const prelude = announceLua + /* lua */ `
local function jobKey (id) return KEYS[1] .. 'job:' .. id end
local function lineKey (server) return KEYS[1] .. 'line:' .. server end

local function eachIndex (key, server, status, act)
  local keys = key == '' and { '*' } or { '*', key }
  for _, k in ipairs(keys) do
    for _, s in ipairs({ '*', server }) do
      act(KEYS[1] .. 'jobs:' .. k .. ':' .. s .. ':' .. status)
    end
  end
end

local function enterIndexes (id, arrival, key, server, status)
  local function add (index) redis.call('ZADD', index, arrival, id) end
  eachIndex(key, server, status, add)
  eachIndex(key, server, '*', add)
end

local function leaveIndexes (id, key, server, status)
  local function remove (index) redis.call('ZREM', index, id) end
  eachIndex(key, server, status, remove)
  eachIndex(key, server, '*', remove)
end

local function changeStatus (id, arrival, key, server, from, to)
  eachIndex(key, server, from, function (index) redis.call('ZREM', index, id) end)
  eachIndex(key, server, to, function (index) redis.call('ZADD', index, arrival, id) end)
end

local now = milliseconds

-- How many jobs of a key wait or are promised, where one more, or the first of a group of that size, would be too many;
-- nil where there is room. The first of a group keeps room for the others, which come within a minute.
local function waitingBeyond (key, most, group, size)
  if key == '' or most == '' then return nil end
  local promises, moment = KEYS[1] .. 'promised:' .. key, now()
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
    local waiting = redis.call('ZCARD', KEYS[1] .. 'jobs:' .. key .. ':*:pending') + promised
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

-- Places of one lane rise with each entry; lanes lie far enough apart for a trillion entries.
local function place (lane)
  return tonumber(lane) * 1e12 + redis.call('INCR', KEYS[1] .. 'places')
end

-- Notes that a job which entered a line still has to get its queue entry, so that a crash before that is noticed.
local function expectEntry (server, id, run)
  redis.call('ZADD', KEYS[1] .. 'entering:' .. server, now(), id .. '_' .. string.format('%.0f', run))
end

-- For the job's receiver, in the step that makes the event true: the outbox gets the whole record as it is now.
local function tellReceiver (event, id)
  local wanted = redis.call('HGET', jobKey(id), 'webhookEvents')
  if not wanted or not string.find(wanted, ',' .. event .. ',', 1, true) then return end
  redis.call('HINCRBY', jobKey(id), 'webhookSequence', 1)
  redis.call('XADD', KEYS[1] .. 'webhook-outbox', '*', '@event', event, '@job', id, '@moment', now(),
    unpack(redis.call('HGETALL', jobKey(id))))
  redis.call('PUBLISH', KEYS[1] .. 'channel:webhooks', id)
end

-- The fields most scripts need, or nil where there is no such job.
local function read (id)
  local values = redis.call('HMGET', jobKey(id),
    'status', 'server', 'key', 'arrival', 'run', 'owner', 'lane', 'place', 'bulk')
  if not values[1] then return nil end
  return {
    status = values[1], server = values[2], key = values[3] or '', arrival = values[4], run = values[5],
    owner = values[6] or '', lane = values[7], place = values[8], bulk = values[9] or ''
  }
end

-- Whether the lease of a server under this fence is the present one.
local function servesUnder (server, fence)
  return redis.call('GET', KEYS[1] .. 'lease:' .. server .. ':fence') == fence
end

local function ended (status)
  return status == 'completed' or status == 'failed' or status == 'cancelled'
end
`
