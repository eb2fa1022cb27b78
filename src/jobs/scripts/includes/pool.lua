--[[
  The pool: waiting jobs that belong to no server. Each share (an access key, or '' for all callers without one) has a
  list of its jobs in their order; between the lists start-time fair queueing decides. The share '!' is the express
  list of operators: ahead of every share. The background lane has shares, tags and a virtual time of its own: in it the
  share of a key is called `~<share>`, so that its background work costs its other jobs nothing. docs/scheduling.md
  explains the rule.

  own:<share>          ZSET of members `class:milliseconds:weight:id` by order
  own:<share>:<class>  the same members of one class
  fair                 ZSET of the shares that have waiting jobs, by the start tag of their next job; `fair~` is that of
                       the lane
  finish               HASH of the tags of the other shares, where they are still in the future
  fair-now             the virtual time; `fair-now~` is that of the lane
  flows:<share>        HASH of the finish tags within a share, `now`, the order that each server has `reached` in it as
                       `id order;id order;`, and the day since when its lifetime runs
  arrivals             LIST of the latest arrivals, `time|class|milliseconds|weight|share|workload|user`, newest first
]]
--- @include "../../../redis/scripts/clock"
--- @include "record"
local express, background = '!', '~'
local finishKey = KEYS[1] .. 'finish'
-- Tags of shares without waiting jobs that are kept before those in the past are dropped.
local keptTags = 1000

local exactTexts = {}
local function exact (number)
  exactTexts[number] = exactTexts[number] or string.format('%.17g', number)
  return exactTexts[number]
end

local function listKey (share) return KEYS[1] .. 'own:' .. share end

-- The lane of a share or list: `background` or ''.
local function laneOf (share) return string.sub(share, 1, 1) == background and background or '' end

local function fairKey (lane) return KEYS[1] .. 'fair' .. lane end

local function memberOf (job)
  return job.class .. ':' .. job.ms .. ':' .. job.weight .. ':' .. job.id
end

-- Class, milliseconds, weight and id.
local function readMember (member)
  return string.match(member, '^([^:]*):([^:]*):([^:]*):(.*)$')
end

-- Those of the lanes, each read once a script.
local virtualTimes = {}
local function virtualNow (lane)
  virtualTimes[lane] = virtualTimes[lane] or tonumber(redis.call('GET', KEYS[1] .. 'fair-now' .. lane) or 0)
  return virtualTimes[lane]
end

local function advanceTo (lane, time)
  if time <= virtualNow(lane) then return end
  redis.call('SET', KEYS[1] .. 'fair-now' .. lane, exact(time))
  virtualTimes[lane] = time
end

-- The access key of a share.
local function keyOf (share) return laneOf(share) == '' and share or string.sub(share, 2) end

local weights = {}
-- The weight of an access key, which its record has.
local function weightOf (share)
  weights[share] = weights[share] or
    tonumber(redis.call('HGET', KEYS[1] .. 'access-key:' .. keyOf(share), 'weight') or 1)
  return weights[share]
end

-- Virtual seconds that a job costs its share.
local function costOf (job) return tonumber(job.ms) / 1000 / (weightOf(job.share) * tonumber(job.weight)) end

-- Adds to the tag of a share; a negative amount takes back an earlier charge.
local function charge (share, amount)
  local fair, now = fairKey(laneOf(share)), virtualNow(laneOf(share))
  local tag = redis.call('ZSCORE', fair, share)
  if tag then
    -- A share that fell behind, because its servers were away, gets no more than its turn.
    redis.call('ZADD', fair, exact(math.max(tonumber(tag), now) + amount), share)
  else
    local before = math.max(now, tonumber(redis.call('HGET', finishKey, share) or 0))
    redis.call('HSET', finishKey, share, exact(before + amount))
  end
end

-- A share that stays away for longer begins from zero again.
local flowLifetime = 7 * 86400
-- The lifetime begins again once a day. `day` is the one that is stored, if the caller knows it. Answers that of today.
local function keepFlows (share, day, ...)
  local flows, today = KEYS[1] .. 'flows:' .. share, string.format('%.0f', math.floor(milliseconds() / 86400000))
  if day == today then
    redis.call('HSET', flows, ...)
  else
    redis.call('HSET', flows, 'day', today, ...)
    redis.call('EXPIRE', flows, flowLifetime)
  end
  return today
end

-- The orders that servers have reached in a share, the highest first.
local function parseReached (text)
  local servers = {}
  for id, order in string.gmatch(text or '', '([^ ;]+) ([^;]+);') do
    table.insert(servers, { id = id, order = tonumber(order) })
  end
  table.sort(servers, function (one, other)
    if one.order ~= other.order then return one.order > other.order end
    return one.id < other.id
  end)
  return servers
end

-- Notes that a server claims a job of a share, and what is the first one there that it can run.
local function reach (share, server, order)
  local known = redis.call('HMGET', KEYS[1] .. 'flows:' .. share, 'now', 'reached', 'day')
  local now, parts, before = tonumber(known[1] or 0), {}, nil
  for _, one in ipairs(parseReached(known[2])) do
    if one.id == server then before = one.order else table.insert(parts, one.id .. ' ' .. exact(one.order) .. ';') end
  end
  if before and order <= before and order <= now then return end
  table.insert(parts, server .. ' ' .. exact(math.max(before or 0, order)) .. ';')
  keepFlows(share, known[3], 'now', exact(math.max(now, order)), 'reached', table.concat(parts))
end

-- The answer of a command about a key, which `seen` keeps: a script that handles several jobs reads it once, until the
-- pool changes by more than further jobs in lists that exist.
local function readOnce (seen, command, key, ...)
  if seen[key] == nil then seen[key] = redis.call(command, key, ...) end
  return seen[key]
end

-- What its server has reached, of a job that names it; `first`: the first job there, member and order.
local function atTarget (job, servers, now, seen)
  local reached = 0
  for _, server in ipairs(servers) do
    if server.id == job.target then reached = server.order end
  end
  if reached >= now then return reached end
  local list = listKey(job.share)
  local first = redis.call('ZRANGE', list, 0, 63, 'WITHSCORES')
  seen[list] = first[1] and 1 or 0
  if not first[1] then return reached end
  local can, answers = {}, readOnce(seen, 'HGETALL', KEYS[1] .. 'can:' .. job.target)
  for i = 1, #answers, 2 do can[answers[i]] = answers[i + 1] end
  for i = 1, #first, 2 do
    if can[string.match(first[i], '^[^:]*')] == '1' then return reached, { first[i], first[i + 1] } end
  end
  return reached, redis.call('ZRANGE', list .. ':' .. job.class, 0, 0, 'WITHSCORES')
end

-- The same of the servers that can run a job that names none, by the first job of its class: they have not reached
-- more. Nothing if the server that is furthest can run it.
local function atClass (job, servers, now, seen)
  local list = listKey(job.share)
  local first = redis.call('ZRANGE', list .. ':' .. job.class, 0, 0, 'WITHSCORES')
  if not first[1] then return 0 end
  seen[list] = 1
  local order = tonumber(first[2])
  if order >= now or redis.call('HGET', KEYS[1] .. 'can:' .. servers[1].id, job.class) ~= '0' then return 0 end
  for _, server in ipairs(servers) do
    if server.order <= order then return server.order, first end
  end
  return 0, first
end

-- The virtual time of a share for a job that arrives: it begins where the servers that can run it are, if others wait
-- there. Another server, which cannot, is possibly further.
local function reachedFor (job, now, reached, seen)
  local servers = parseReached(reached)
  if #servers == 0 then return now end
  local own, first = (job.target ~= '' and atTarget or atClass)(job, servers, now, seen)
  if not first or not first[1] then return now end
  local _, ms, weight = readMember(first[1])
  return math.max(own, math.min(now, tonumber(first[2]) - tonumber(ms) / 1000 / tonumber(weight)))
end

-- The order of a job that arrives in the list of its share: fair between users, by weight between priorities.
local function orderOfArrival (job, seen)
  seen = seen or {}
  local flows, flow = KEYS[1] .. 'flows:' .. job.share, job.user .. '|' .. job.priority
  local known = seen[flows .. flow] or redis.call('HMGET', flows, 'now', flow, 'day', 'reached')
  local seconds = tonumber(job.ms) / 1000 / tonumber(job.weight)
  local now = reachedFor(job, tonumber(known[1] or 0), known[4], seen)
  local order = math.max(now, tonumber(known[2] or 0)) + seconds
  local day = keepFlows(job.share, known[3], flow, exact(order))
  seen[flows .. flow] = { known[1], exact(order), day, known[4] }
  return order
end

-- What the record has of the pool.
local function pooledFields (job)
  return 'list', job.list, 'order', exact(job.order), 'class', job.class, 'needs', job.needs, 'ms', job.ms,
    'weight', job.weight
end

-- Counts jobs of a class that enter the pool.
local function countJobs (class, needs, jobs, ms)
  if redis.call('HINCRBY', KEYS[1] .. 'class-counts', class, jobs) == jobs then
    redis.call('HSET', KEYS[1] .. 'classes', class, needs)
  end
  redis.call('HINCRBY', KEYS[1] .. 'class-ms', class, ms)
end

-- The caller writes `pooledFields` to the record, and counts the job. Whether the list is new.
local function enterLists (job, seen)
  local list, member, order = listKey(job.list), memberOf(job), exact(job.order)
  local isNew = job.list ~= express and readOnce(seen or {}, 'EXISTS', list) == 0
  if isNew then
    local lane = laneOf(job.list)
    local tag = math.max(virtualNow(lane), tonumber(redis.call('HGET', finishKey, job.list) or 0))
    redis.call('HDEL', finishKey, job.list)
    redis.call('ZADD', fairKey(lane), exact(tag), job.list)
  end
  redis.call('ZADD', list, order, member)
  redis.call('ZADD', list .. ':' .. job.class, order, member)
  return isNew
end

local function enterPool (job)
  enterLists(job)
  countJobs(job.class, job.needs, 1, job.ms)
  writeJob(job.id, pooledFields(job))
end

-- Forecasts expect that jobs go on arriving as they did lately. Those beyond are dropped a few at a time.
local keptArrivals = 256
local arrivals = {}
local function noteArrival (created, job, workload)
  table.insert(arrivals,
    table.concat({ created, job.class, job.ms, job.weight, job.share, workload, job.user }, '|'))
end

-- Once after all jobs of the script.
local function keepArrivals ()
  if #arrivals == 0 then return end
  local count = redis.call('LPUSH', KEYS[1] .. 'arrivals', unpack(arrivals))
  if count >= keptArrivals + 32 then redis.call('LTRIM', KEYS[1] .. 'arrivals', 0, keptArrivals - 1) end
end

local function dropPastTags ()
  if redis.call('HLEN', finishKey) <= keptTags then return end
  local tags = redis.call('HGETALL', finishKey)
  for i = 1, #tags, 2 do
    if tonumber(tags[i + 1]) <= virtualNow(laneOf(tags[i])) then redis.call('HDEL', finishKey, tags[i]) end
  end
end

-- Whether the job was in the pool.
local function leavePool (job)
  local list, member = listKey(job.list), memberOf(job)
  if redis.call('ZREM', list, member) == 0 then return false end
  redis.call('ZREM', list .. ':' .. job.class, member)
  if redis.call('HINCRBY', KEYS[1] .. 'class-counts', job.class, -1) <= 0 then
    redis.call('HDEL', KEYS[1] .. 'class-counts', job.class)
    redis.call('HDEL', KEYS[1] .. 'class-ms', job.class)
    redis.call('HDEL', KEYS[1] .. 'classes', job.class)
  else
    redis.call('HINCRBY', KEYS[1] .. 'class-ms', job.class, 0 - job.ms)
  end
  if job.list ~= express and redis.call('EXISTS', list) == 0 then
    local lane = laneOf(job.list)
    local tag = tonumber(redis.call('ZSCORE', fairKey(lane), job.list) or 0)
    redis.call('ZREM', fairKey(lane), job.list)
    -- A process of an earlier version, which knows no lane, can have entered it there.
    if lane ~= '' then redis.call('ZREM', fairKey(''), job.list) end
    if tag > virtualNow(lane) then redis.call('HSET', finishKey, job.list, exact(tag)) end
    -- A job of this list that comes back keeps its order, so orders go on from here.
    local flows = KEYS[1] .. 'flows:' .. job.list
    local now = math.max(tonumber(redis.call('HGET', flows, 'now') or 0), job.order)
    redis.call('DEL', flows)
    keepFlows(job.list, nil, 'now', exact(now))
    dropPastTags()
  end
  return true
end

-- The work of a job of an earlier version, in milliseconds: only their relation matters.
local usualWork = 10000

-- Writes what the pool needs into a record of an earlier version, which knew no pool. `weightOf` in job.ts gives the
-- same weight.
local function completeEarlier (id)
  local values = redis.call('HMGET', jobKey(id), 'key', 'priority', 'server', 'submission')
  if not values[4] then return end
  local submission, priority = cjson.decode(values[4]), tonumber(values[2])
  local weight = math.floor(2 ^ ((priority - 5) / (priority < 5 and 2 or 5)) * 1000 + 0.5) / 1000
  writeJob(id, 'share', values[1] or '', 'list', values[1] or '', 'ms', usualWork,
    'weight', string.format('%.14g', weight), 'user', submission.studio and submission.studio.user or '',
    'target', submission.anyServer and '' or values[3])
  clearJob(id, 'lane', 'place')
end

-- The fields of a job that the pool needs.
local function readPooled (id)
  local function read ()
    return redis.call('HMGET', jobKey(id), 'share', 'list', 'class', 'needs', 'ms', 'weight', 'order', 'user',
      'priority', 'target', 'charged')
  end
  local values = read()
  if not values[1] then
    completeEarlier(id)
    values = read()
  end
  return {
    id = id, share = values[1] or '', list = values[2] or '', class = values[3] or '', needs = values[4] or '',
    ms = values[5] or '0', weight = values[6] or '1', order = tonumber(values[7] or 0), user = values[8] or '',
    priority = values[9], target = values[10] or '', charged = tonumber(values[11] or 0)
  }
end

-- Takes back what the claim charged.
local function refund (job)
  if job.charged ~= 0 then charge(job.share, -job.charged) end
  clearJob(job.id, 'charged', 'claimed')
end

-- Servers look for a job to claim. They do so after the script, so one notice of a class is enough.
local announced = {}
local function announce (class)
  if announced[class] then return end
  announced[class] = true
  redis.call('PUBLISH', KEYS[1] .. 'channel:pool', class)
end

-- Shares between which a position is estimated.
local comparedShares = 100

-- Waiting jobs outside the lane that go ahead of a job in it. `can`: the classes of the server that it needs, in turn.
local function countBefore (job, can)
  local count = redis.call('ZCARD', listKey(express))
  for _, share in ipairs(redis.call('ZRANGE', fairKey(''), 0, comparedShares - 1)) do
    if job.target == '' then
      count = count + redis.call('ZCARD', listKey(share))
    else
      for i = 1, #can, 2 do
        if can[i + 1] == '1' then count = count + redis.call('ZCARD', listKey(share) .. ':' .. can[i]) end
      end
    end
  end
  return count
end

-- Jobs that are expected to begin before this one, and 1: exact within a list, an estimate between the shares.
local function positionInPool (job, seen)
  seen = seen or {}
  local list = listKey(job.list)
  local claimed, ahead, can
  if job.target ~= '' then
    claimed = readOnce(seen, 'ZCARD', KEYS[1] .. 'line:' .. job.target)
    local rank = 0
    can = readOnce(seen, 'HGETALL', KEYS[1] .. 'can:' .. job.target)
    if #can == 0 then
      ahead = redis.call('ZCOUNT', list .. ':' .. job.class, '-inf', '(' .. exact(job.order))
    else
      for i = 1, #can, 2 do
        if can[i + 1] == '1' or can[i] == job.class then
          rank = rank + redis.call('ZCOUNT', list .. ':' .. can[i], '-inf', '(' .. exact(job.order))
        end
      end
      ahead = rank
    end
  else
    claimed = readOnce(seen, 'ZCARD', KEYS[1] .. 'claimed')
    ahead = redis.call('ZRANK', list, memberOf(job)) or 0
  end
  if job.list == express then return claimed + ahead + 1 end
  local lane = laneOf(job.list)
  ahead = ahead + (lane == '' and readOnce(seen, 'ZCARD', listKey(express)) or countBefore(job, can))
  local shares = readOnce(seen, 'ZRANGE', fairKey(lane), 0, comparedShares - 1, 'WITHSCORES')
  if #shares > 2 then
    local own = tonumber(redis.call('ZSCORE', fairKey(lane), job.list) or virtualNow(lane)) + ahead * costOf(job)
    for i = 1, #shares, 2 do
      if shares[i] ~= job.list then
        local turns = math.ceil((own - tonumber(shares[i + 1])) / math.max(costOf(job), 1e-6))
        ahead = ahead + math.max(0, math.min(turns, redis.call('ZCARD', listKey(shares[i]))))
      end
    end
  end
  return claimed + ahead + 1
end
