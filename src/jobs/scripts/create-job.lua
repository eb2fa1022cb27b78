--[[
  Creates the record of a job and its queue entry, enters it into the indexes and the queue of its server, and publishes
  `accepted`.

  KEYS[1]   common beginning of every key
  ARGV[1]   id of the job
  ARGV[2]   id of the server
  ARGV[3]   id of the access key, or ''
  ARGV[4]   priority, 1 to 10
  ARGV[5]   lane
  ARGV[6]   id of the bulk, or ''
  ARGV[7]   submission, JSON
  ARGV[8]   prompt, for searches
  ARGV[9]   webhook, JSON, or ''
  ARGV[10]  events of the webhook as `,one,other,`
  ARGV[11]  workload
  ARGV[12]  latest time, in milliseconds: after it the client already got the answer that there is no job
  ARGV[13]  how many jobs of the access key can wait, or ''
  ARGV[14]  id of the group that is submitted together
  ARGV[15]  how many jobs the group has

  Answers { 'created', position, timestamp } | { 'exists' } | { 'late' } | { 'full', waiting jobs }
]]
--- @include "../../events/scripts/publish"
--- @include "includes/record"
--- @include "includes/indexes"
--- @include "includes/queue"
--- @include "includes/entry"
--- @include "includes/waiting-limit"
local id, server, key, priority, lane, bulk, submission, prompt, webhook, events, cost, last = unpack(ARGV)
local most, group, size = unpack(ARGV, 13)
if redis.call('EXISTS', jobKey(id)) == 1 then return { 'exists' } end
local created = milliseconds()
if created > tonumber(last) then return { 'late' } end
local waiting = waitingBeyond(key, most, group, tonumber(size))
if waiting then return { 'full', waiting } end
-- Arrival orders all lists: microseconds, and never the same twice.
local arrival = math.max(created * 1000, tonumber(redis.call('GET', KEYS[1] .. 'arrival') or 0) + 1)
arrival = string.format('%.0f', arrival)
redis.call('SET', KEYS[1] .. 'arrival', arrival)
local score = nextScore(lane)
redis.call('HSET', jobKey(id), 'status', 'pending', 'server', server, 'priority', priority, 'run', 1, 'lane', lane,
  'place', score, 'arrival', arrival, 'created', created, 'updated', created, 'submission', submission,
  'prompt', prompt, 'cost', cost)
if key ~= '' then redis.call('HSET', jobKey(id), 'key', key) end
if webhook ~= '' then redis.call('HSET', jobKey(id), 'webhook', webhook, 'webhookEvents', events) end
if bulk ~= '' then
  redis.call('HSET', jobKey(id), 'bulk', bulk)
  redis.call('ZADD', KEYS[1] .. 'bulk:' .. bulk .. ':jobs', arrival, id)
end
redis.call('ZADD', queueKey(server), score, id)
addRunEntry(server, id, 1, lane, 0)
enterIndexes(id, arrival, key, server, 'pending')
local position = positionOf(server, id)
publish('accepted', id, server, key, 'pending', { position = position, priority = tonumber(priority) })
return { 'created', position, created }
