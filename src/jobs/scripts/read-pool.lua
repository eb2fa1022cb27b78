--[[
  Reads what the forecast runs forward: the first jobs of the pool in the fair order, those of the background lane last,
  the shares, and for each server
  what it runs, has claimed and can run.

  KEYS[1]     common beginning of every key
  ARGV[1]     how many jobs of the pool
  ARGV[2]     share that is read although none of its jobs waits, or ''
  ARGV[3...]  ids of the servers

  Answers { virtual time, that of the lane, number of jobs in the pool, shares: name, weight, tag, order that it has
    reached, that of each server as text, ..., jobs, servers, classes: class, needs, ..., latest arrivals }; each
    job is { id, access key, workload, list, order, member, skips, user }; each server is { costs, JSON, or '', running
    jobs, claimed jobs, can run: class, answer, ..., its own checkpoint or '' }, whose jobs are { id, access key,
    workload, start, progress }
]]
--- @include "includes/pool"
--- @include "includes/queue"
local most, asked = tonumber(ARGV[1]), ARGV[2]
local total = 0
for _, count in ipairs(redis.call('HVALS', KEYS[1] .. 'class-counts')) do total = total + tonumber(count) end

-- The first jobs of a list, with its score.
local jobs = {}
local function read (list, count)
  local members, ids = redis.call('ZRANGE', listKey(list), 0, count - 1, 'WITHSCORES'), {}
  for i = 1, #members, 2 do
    local _, _, _, id = readMember(members[i])
    local values = redis.call('HMGET', jobKey(id), 'key', 'cost', 'user')
    table.insert(ids, id)
    table.insert(jobs, { id, values[1] or '', values[2] or '', list, members[i + 1], members[i], '0', values[3] or '' })
  end
  if #ids == 0 then return end
  local first, skips = #jobs - #ids, redis.call('HMGET', KEYS[1] .. 'skips', unpack(ids))
  for i = 1, #ids do jobs[first + i][7] = skips[i] or '0' end
end

read(express, most)
-- Shares take turns in the fair order, so each has about as many jobs among the first ones, as far as it has them.
local shares = {}
local function readShare (name, tag)
  table.insert(shares, name)
  table.insert(shares, exact(weightOf(name)))
  table.insert(shares, tag)
  local flows = redis.call('HMGET', KEYS[1] .. 'flows:' .. name, 'now', 'reached')
  table.insert(shares, flows[1] or '0')
  table.insert(shares, flows[2] or '')
end
if asked ~= '' and not redis.call('ZSCORE', fairKey(laneOf(asked)), asked) then
  readShare(asked, redis.call('HGET', finishKey, asked) or '0')
end
local function readLane (lane)
  local counts, tags = {}, redis.call('ZRANGE', fairKey(lane), 0, most - 1, 'WITHSCORES')
  for i = 1, #tags, 2 do
    readShare(tags[i], tags[i + 1])
    table.insert(counts, { share = tags[i], jobs = redis.call('ZCARD', listKey(tags[i])) })
  end
  table.sort(counts, function (one, other)
    if one.jobs ~= other.jobs then return one.jobs < other.jobs end
    return one.share < other.share
  end)
  local left = most - #jobs
  for index, count in ipairs(counts) do
    local turns = math.ceil(left / (#counts - index + 1))
    if turns <= 0 then break end
    read(count.share, math.min(count.jobs, turns))
    left = most - #jobs
  end
end
readLane('')
readLane(background)

local function facts (ids)
  local found = {}
  for _, id in ipairs(ids) do
    local values = redis.call('HMGET', jobKey(id), 'key', 'cost', 'started', 'progress')
    table.insert(found, { id, values[1] or '', values[2] or '', values[3] or '', values[4] or '' })
  end
  return found
end

local servers = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  table.insert(servers, {
    redis.call('GET', KEYS[1] .. 'server:' .. id .. ':costs') or '',
    facts(redis.call('ZRANGE', KEYS[1] .. 'jobs:*:' .. id .. ':processing', 0, -1)),
    facts(redis.call('ZRANGE', queueKey(id), 0, -1)),
    redis.call('HGETALL', KEYS[1] .. 'can:' .. id),
    redis.call('HGET', KEYS[1] .. 'own-checkpoints', id) or ''
  })
end
return {
  exact(virtualNow('')), exact(virtualNow(background)), total, shares, jobs, servers,
  redis.call('HGETALL', KEYS[1] .. 'classes'),
  redis.call('LRANGE', KEYS[1] .. 'arrivals', 0, keptArrivals - 1)
}
