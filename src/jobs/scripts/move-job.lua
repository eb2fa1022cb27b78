--[[
  Changes where a waiting job waits: its place among the jobs of its share, the express list, the background lane, the
  server that it needs, its priority, or only its run, which makes its former queue entry void.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the job
  ARGV[2]  `first` of its share | `next` of its share, outside the lane | `last` of its share | `express` | `before`
           another job | `lane` | `priority` | `target` | `renew`
  ARGV[3]  for `before` the other job; for `priority` the priority; for `target` the id of the server, or '' for any;
           for `renew` the run that must wait; for `lane` `1` for the background, or ''
  ARGV[4]  for `priority` the weight; for `before` `own` if the other job must be of the same share, else `any`;
           for `target` the class
  ARGV[5]  for `target` the needs of the class, JSON; else ''
  ARGV[6]  the dial, JSON

  Answers { 'moved', new run, position } | { 'there' } | { 'not_pending', status } | { 'not_waiting' } (the other job) |
    { 'other_lane' } (that of the other job) |
    { 'superseded' } | { 'gone' } | { 'earlier' }: a job of an earlier version, which gets a class by `target` first
]]
--- @include "../../events/scripts/publish"
--- @include "includes/give-back"
--- @include "includes/offer"
local id, how, value, detail, needs, dial = unpack(ARGV)
local record = readJob(id)
if not record then return { 'gone' } end
if record.status ~= 'pending' then return { 'not_pending', record.status } end
if how == 'renew' and value ~= record.run then return { 'superseded' } end
local job = readPooled(id)
local isEarlier = job.class == ''
if isEarlier and how ~= 'target' and how ~= 'renew' then return { 'earlier' } end
local isClaimed = record.server ~= '' and redis.call('ZSCORE', queueKey(record.server), id) and true or false

-- The order between a job and the one ahead of it. Where doubles are used up, the jobs behind make room.
local function orderBefore (list, other)
  local member, key = memberOf(other), listKey(list)
  local rank = redis.call('ZRANK', key, member)
  if not rank then return nil end
  if rank == 0 then return other.order - 1 end
  local previous = redis.call('ZRANGE', key, rank - 1, rank - 1, 'WITHSCORES')
  local between = (tonumber(previous[2]) + other.order) / 2
  if between > tonumber(previous[2]) and between < other.order then return between end
  local behind = redis.call('ZRANGE', key, rank, rank + 999, 'WITHSCORES')
  local start, last = tonumber(previous[2]), tonumber(behind[#behind])
  local count = #behind / 2
  if last <= start + count * 1e-9 then last = start + count end
  local step = (last - start) / (count + 1)
  for i = 1, count do
    local order, moved = start + step * (i + 1), behind[i * 2 - 1]
    local class, _, _, of = readMember(moved)
    redis.call('ZADD', key, exact(order), moved)
    redis.call('ZADD', key .. ':' .. class, exact(order), moved)
    writeJob(of, 'order', exact(order))
  end
  return start + step
end

-- Its server and status stay.
local function changeLane (lane)
  leaveIndexes(id, record.key, record.server, 'pending')
  inBackground[id] = lane ~= ''
  enterIndexes(id, record.arrival, record.key, record.server, 'pending')
  if lane ~= '' then writeJob(id, 'background', 1) else clearJob(id, 'background') end
  job.share = lane .. keyOf(job.share)
  writeJob(id, 'share', job.share)
end

if how == 'renew' then
  local run = nextRun(record)
  writeJob(id, 'run', run, 'updated', milliseconds())
  local queue = isClaimed and 'generation-' .. record.server or 'waiting'
  if isClaimed then redis.call('PUBLISH', KEYS[1] .. 'channel:taken', id .. '_' .. record.run) end
  removeEntry(queue, id .. '_' .. record.run)
  addEntry(queue, id .. '_' .. run, id, run, job.priority, 0)
  return { 'moved', run, 1 }
end
local lane, goesFirst = laneOf(job.share), how == 'first' or how == 'next' or how == 'express'
local comesOut = lane ~= '' and (how == 'next' or how == 'express')
if isClaimed and (goesFirst or how == 'before') and not comesOut then return { 'there' } end
if goesFirst then
  if comesOut then
    leaveWaiting(id, record, job)
    changeLane('')
  end
  local list = how == 'express' and express or job.share
  local head = redis.call('ZRANGE', listKey(list), 0, 0, 'WITHSCORES')
  if not comesOut then
    if head[1] == memberOf(job) and job.list == list then return { 'there' } end
    leaveWaiting(id, record, job)
  end
  job.list, job.order = list, head[2] and tonumber(head[2]) - 1 or job.order
elseif how == 'last' then
  local tail = redis.call('ZRANGE', listKey(job.share), -1, -1, 'WITHSCORES')
  if not isClaimed and tail[1] == memberOf(job) and job.list == job.share then return { 'there' } end
  leaveWaiting(id, record, job)
  job.list = job.share
  local seconds = tonumber(job.ms) / 1000 / tonumber(job.weight)
  if tail[2] then job.order = math.max(tonumber(tail[2]), job.order) + seconds end
  -- Newcomers wait behind it.
  keepFlows(job.share, nil, job.user .. '|' .. job.priority, exact(job.order))
elseif how == 'before' then
  local other = redis.call('EXISTS', jobKey(value)) == 1 and readPooled(value)
  if not other or value == id or (detail == 'own' and keyOf(other.list) ~= keyOf(job.share)) then
    return { 'not_waiting' }
  end
  if laneOf(other.list) ~= lane then return { 'other_lane' } end
  leaveWaiting(id, record, job)
  local order = orderBefore(other.list, other)
  if order then
    job.list, job.order = other.list, order
  else
    enterWaiting(id, record, job, 'pending')
    return { 'not_waiting' }
  end
elseif how == 'lane' then
  if (value == '1') == (lane ~= '') then return { 'there' } end
  leaveWaiting(id, record, job)
  changeLane(value == '1' and background or '')
  job.list = job.share
  job.order = orderOfArrival(job)
elseif how == 'priority' then
  leaveWaiting(id, record, job)
  writeJob(id, 'priority', value)
  job.priority, job.weight, job.list = value, detail, job.share
  job.order = orderOfArrival(job)
else
  if job.target == value and job.class == detail then return { 'there' } end
  leaveWaiting(id, record, job)
  writeJob(id, 'target', value)
  clearJob(id, 'fixed')
  job.target, job.class, job.needs = value, detail, needs
  if isEarlier then job.order = orderOfArrival(job) end
end
local run = enterWaiting(id, record, job, 'pending')
local position = positionInPool(job)
publish('moved', id, job.target, record.key, 'pending', { position = position, from = record.server })
offer(job, dial)
return { 'moved', run, position }
