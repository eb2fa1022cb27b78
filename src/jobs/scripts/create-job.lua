--[[
  Creates the record of a job, enters it into the indexes and the pool, adds its queue entry, publishes `accepted`, and
  gives it to an idle server. Takes several jobs, one after the other: an error of one does not affect the next.

  KEYS[1]   common beginning of every key
  ARGV[1]   id of the job
  ARGV[2]   id of the server that it needs, or '' for any
  ARGV[3]   id of the access key, or ''
  ARGV[4]   priority, 1 to 10
  ARGV[5]   id of the bulk, or ''
  ARGV[6]   submission, JSON
  ARGV[7]   prompt, for searches
  ARGV[8]   webhook, JSON, or ''
  ARGV[9]   events of the webhook as `,one,other,`
  ARGV[10]  workload
  ARGV[11]  latest time, in milliseconds: after it the client already got the answer that there is no job
  ARGV[12]  how many jobs of the access key can wait, or ''
  ARGV[13]  id of the group that is submitted together
  ARGV[14]  how many jobs the group has
  ARGV[15]  class
  ARGV[16]  needs of the class, JSON
  ARGV[17]  predicted work in milliseconds
  ARGV[18]  weight
  ARGV[19]  user within the access key, or ''
  ARGV[20]  the dial, JSON
  ARGV[21]  application that it is for, for searches
  ARGV[22]  `1` for the background lane, or ''
  ARGV[23...]  the same 22 of each further job

  Answers for each job { 'created', position, timestamp, server that got it or '' } | { 'exists' } | { 'late' } |
  { 'full', waiting jobs } | error
]]
--- @include "../../events/scripts/publish"
--- @include "includes/claim"
--- @include "includes/gather"
--- @include "includes/lease"
--- @include "includes/offer"
--- @include "includes/search"
--- @include "includes/waiting-limit"
-- What was read about the pool: see `readOnce`.
local seen = {}
local function create (from)
  local id, target, key, priority, bulk, submission, prompt, webhook, events, workload, last =
    unpack(ARGV, from, from + 10)
  local most, group, size, class, needs, ms, weight, user, dial, application, lane = unpack(ARGV, from + 11, from + 21)
  if redis.call('EXISTS', jobKey(id)) == 1 then return { 'exists' } end
  local created = milliseconds()
  if created > tonumber(last) then return { 'late' } end
  local waiting = waitingBeyond(key, most, group, tonumber(size))
  if waiting then return { 'full', waiting } end
  local arrival = arrive(id, created, prompt, application, user)
  local share = lane == '1' and background .. key or key
  local job = {
    id = id, share = share, list = share, class = class, needs = needs, ms = ms, weight = weight, user = user,
    priority = priority, target = target
  }
  job.order = orderOfArrival(job, seen)
  newJob(id, 'status', 'pending', 'server', target, 'priority', priority, 'run', 1,
    'arrival', arrival, 'created', created, 'updated', created, 'submission', submission, 'prompt', prompt,
    'cost', workload, 'share', share, 'user', user, 'target', target, pooledFields(job))
  if key ~= '' then writeJob(id, 'key', key) end
  if lane == '1' then
    inBackground[id] = true
    writeJob(id, 'background', 1)
  end
  if webhook ~= '' then writeJob(id, 'webhook', webhook, 'webhookEvents', events) end
  if bulk ~= '' then
    writeJob(id, 'bulk', bulk)
    redis.call('ZADD', KEYS[1] .. 'bulk:' .. bulk .. ':jobs', arrival, id)
  end
  if enterLists(job, seen) then seen = {} end
  gatherCount(job)
  noteArrival(created, job, workload)
  everyIndex(id, key, target, 'pending', function (index) gatherMember(index, arrival, id) end)
  addEntry('waiting', id .. '_1', id, '1', priority, 0)
  local position = positionInPool(job, seen)
  publish('accepted', id, target, key, 'pending', { position = position, priority = tonumber(priority) })
  local server, changed = offer(job, dial)
  if changed then seen = {} end
  return { 'created', position, created, server or '' }
end

local answers = {}
for from = 1, #ARGV, 22 do
  forgetClassCounts()
  local isDone, answer = pcall(create, from)
  if not isDone then seen = {} end
  table.insert(answers, (isDone or type(answer) == 'table') and answer or redis.error_reply(answer))
end
keepArrived()
writeGathered()
keepArrivals()
return answers
