--[[
  The choice of the next job of a server, and the claim. The caller has checked the lease.
  A job is never passed over more often than its patience; within that, the loaded checkpoint goes first.
]]
--- @include "../../../redis/scripts/clock"
--- @include "pool"
--- @include "indexes"
--- @include "queue"
--- @external "queue-entries"
-- Jobs of a list that are read at once, and jobs of other servers after which only the lists of classes are read.
local firstPage, page, skippedAtMost = 3, 16, 48

-- The checkpoint that a class needs, '' for the server's own: class ids are `<checkpoint>-<rest>`.
local function checkpointOf (class, server)
  local named = string.match(class, '^([^-]*)-')
  if named and named ~= '' then return named end
  return server.default == '' and server.loaded or server.default
end

-- The jobs of one share that the server can run, in their order, read as they are needed: each answer is an entry,
-- { id, member, order, class, seconds, weight, skips, share }, or nil.
local function openList (share, can)
  local list, from, skipped, taken = listKey(share), 0, 0, {}
  -- What was read and not answered yet.
  local entries, at = {}, 1

  -- Adds what was read, members and orders in turn.
  local function append (read)
    for i = 1, #read, 2 do
      if can[string.match(read[i], '^[^:]*')] ~= '1' then
        skipped = skipped + 1
      elseif not taken[read[i]] then
        table.insert(entries, { member = read[i], order = tonumber(read[i + 1]), share = share })
      end
    end
  end

  local function readClasses ()
    entries, at, from = {}, 1, nil
    for class, answer in pairs(can) do
      if answer == '1' then append(redis.call('ZRANGE', list .. ':' .. class, 0, 255, 'WITHSCORES')) end
    end
    table.sort(entries, function (one, other)
      if one.order ~= other.order then return one.order < other.order end
      return one.member < other.member
    end)
  end

  local function readPage ()
    entries, at = {}, 1
    -- The first job is often the choice.
    local count = from == 0 and firstPage or page
    local read = redis.call('ZRANGE', list, from, from + count - 1, 'WITHSCORES')
    from = #read == 2 * count and from + count or nil
    append(read)
  end

  -- Reads the next entries in full.
  local function complete ()
    local ids = {}
    for i = at, math.min(at + page - 1, #entries) do
      local entry = entries[i]
      local class, ms, weight, id = readMember(entry.member)
      entry.class, entry.seconds, entry.weight, entry.id = class, tonumber(ms) / 1000, tonumber(weight), id
      table.insert(ids, id)
    end
    for i, skips in ipairs(redis.call('HMGET', KEYS[1] .. 'skips', unpack(ids))) do
      entries[at + i - 1].skips = tonumber(skips or 0)
    end
  end

  return function ()
    while not entries[at] and from do
      if skipped > skippedAtMost then readClasses() else readPage() end
    end
    local entry = entries[at]
    if not entry then return nil end
    if not entry.id then complete() end
    at = at + 1
    taken[entry.member] = true
    return entry
  end
end

-- The classes of the jobs of the pool and their numbers, in turn. Read once, until another job enters.
local classCounts
local function forgetClassCounts () classCounts = nil end
local function countsOfClasses ()
  classCounts = classCounts or redis.call('HGETALL', KEYS[1] .. 'class-counts')
  return classCounts
end

-- How many jobs of the pool the server can run, at the most.
local function runnable (can)
  local count, counts = 0, countsOfClasses()
  for i = 1, #counts, 2 do
    if can[counts[i]] == '1' then count = count + tonumber(counts[i + 1]) end
  end
  return count
end

-- How many of them are in the background lane; 0 also if that takes too long to count.
local function runnableLater (can)
  local shares, count, counts = redis.call('ZRANGE', fairKey(background), 0, page), 0, countsOfClasses()
  if #shares > page then return 0 end
  for _, share in ipairs(shares) do
    for i = 1, #counts, 2 do
      if can[counts[i]] == '1' then count = count + redis.call('ZCARD', listKey(share) .. ':' .. counts[i]) end
    end
  end
  return count
end

-- The jobs of a lane among which the server can choose: the fair order, as far as the patience of those ahead reaches.
-- `dial.sharesOnly`: as far as there are any.
local function windowIn (lane, server, can, dial)
  local window, reach, most = {}, math.huge, math.min(dial.longest, runnable(can))
  -- Thousands of shares can have nothing for this server.
  if most == 0 then return window end

  local function append (entry, patience)
    entry.checkpoint = checkpointOf(entry.class, server)
    table.insert(window, entry)
    reach = math.min(reach, #window - 1 + math.max(0, patience - entry.skips))
  end

  local open, seen, unread, virtual = {}, 0, {}, virtualNow(lane)
  -- The share with the least tag that is not open yet.
  local function nextShare ()
    if #unread == 0 and seen then
      if seen == page and lane == '' then most = math.min(most, runnable(can) - runnableLater(can)) end
      local shares = redis.call('ZRANGE', fairKey(lane), seen, seen + page - 1, 'WITHSCORES')
      seen = #shares == 2 * page and seen + page or nil
      for i = #shares - 1, 1, -2 do
        local tag = tonumber(shares[i + 1])
        table.insert(unread, { share = shares[i], tag = tag, raw = tag })
      end
    end
    return unread[#unread]
  end

  -- Tags in the past count as now. Among those, the share with the lesser tag goes first.
  local function comesBefore (one, other)
    local tag, otherTag = math.max(one.tag, virtual), math.max(other.tag, virtual)
    if tag ~= otherTag then return tag < otherTag end
    if one.raw ~= other.raw then return one.raw < other.raw end
    return one.share < other.share
  end

  while #window <= reach and #window < most do
    local best, place
    for i, candidate in ipairs(open) do
      if not best or comesBefore(candidate, best) then best, place = candidate, i end
    end
    local fresh = nextShare()
    if fresh and (not best or comesBefore(fresh, best)) then
      table.remove(unread)
      fresh.tag = math.max(fresh.tag, virtual)
      fresh.read = openList(fresh.share, can)
      fresh.entry = fresh.read()
      if fresh.entry then
        fresh.weight = weightOf(fresh.share)
        local light = redis.call('ZCARD', listKey(fresh.share)) <= dial.lightJobs
        fresh.patience = light and dial.lightPatience or dial.patience
        table.insert(open, fresh)
      end
    elseif best then
      local entry = best.entry
      entry.tag = best.tag
      append(entry, best.patience)
      -- It is the choice: what stands behind it does not matter.
      if not dial.sharesOnly and entry.checkpoint == server.loaded then return window end
      best.tag = best.tag + entry.seconds / (best.weight * entry.weight)
      best.entry = best.read()
      if not best.entry then table.remove(open, place) end
    else
      break
    end
  end
  return window
end

-- The jobs among which the server can choose. One of the express list is there by itself, and those of the background
-- lane only if it can run no other.
local function windowOf (server, can, dial)
  if runnable(can) == 0 then return {} end
  local first = openList(express, can)()
  if first then
    first.checkpoint = checkpointOf(first.class, server)
    return { first }
  end
  local window = windowIn('', server, can, dial)
  return #window > 0 and window or windowIn(background, server, can, dial)
end

-- The rank of the job to take, from 1.
local function choose (window, server, dial)
  if window[1].share == express then return 1 end
  for rank, entry in ipairs(window) do
    if entry.checkpoint == server.loaded then return rank end
  end
  local holders, all = {}, redis.call('HGETALL', KEYS[1] .. 'holds')
  for i = 1, #all, 2 do
    if all[i] ~= server.id and all[i + 1] ~= '' then holders[all[i + 1]] = (holders[all[i + 1]] or 0) + 1 end
  end
  local work = {}
  for _, entry in ipairs(window) do work[entry.checkpoint] = (work[entry.checkpoint] or 0) + entry.seconds end
  for rank, entry in ipairs(window) do
    local others = holders[entry.checkpoint] or 0
    if others == 0 or work[entry.checkpoint] > dial.share * server.loadSeconds * others then return rank end
  end
  return 1
end

-- What the server can run, by class, and the classes of which it does not say.
local function classesOf (serverId)
  local can, unknown = {}, {}
  local answers = redis.call('HGETALL', KEYS[1] .. 'can:' .. serverId)
  for i = 1, #answers, 2 do can[answers[i]] = answers[i + 1] end
  local counts = countsOfClasses()
  for i = 1, #counts, 2 do
    if not can[counts[i]] then table.insert(unknown, counts[i]) end
  end
  return can, unknown
end

-- Whether a server can run a class, as far as known: one that has not been asked can run what does not need another.
local function answerOf (serverId, class)
  local answer = redis.call('HGET', KEYS[1] .. 'can:' .. serverId, class)
  if answer then return answer end
  local needs = redis.call('HGET', KEYS[1] .. 'classes', class)
  local target = needs and needs ~= '' and cjson.decode(needs).target or ''
  return (target == '' or target == serverId) and '1' or '0'
end

-- The record of a job that waits in the pool, or nil if it does not. A process of an earlier version, which does not
-- know the pool, can have cancelled it, removed it or moved it into the line of a server; then the job leaves the pool.
local function waitingRecord (entry)
  local record = readJob(entry.id)
  local line = record and queueKey(record.server)
  if record and record.status == 'pending' then
    if not redis.call('ZSCORE', line, entry.id) then return record end
    if record.server == '' then
      redis.call('ZREM', line, entry.id)
      removeEntry('generation-', entry.id .. '_' .. record.run)
      return record
    end
  end
  local class, ms, weight, id = readMember(entry.member)
  leavePool({ id = id, list = entry.share, class = class, ms = ms, weight = weight, order = entry.order })
  redis.call('HDEL', KEYS[1] .. 'skips', id)
  return nil
end

-- Gives one job of the pool to a server: { id, passed over } or nil.
local function claimFor (server, can, dial)
  local window, rank, chosen, record
  repeat
    window = windowOf(server, can, dial)
    if #window == 0 then return nil end
    rank = choose(window, server, dial)
    chosen = window[rank]
    record = waitingRecord(chosen)
  until record
  for i = 1, rank - 1 do redis.call('HINCRBY', KEYS[1] .. 'skips', window[i].id, 1) end
  if chosen.skips > 0 then redis.call('HDEL', KEYS[1] .. 'skips', chosen.id) end
  local id, now = chosen.id, milliseconds()
  local job = readPooled(id)
  if chosen.tag then
    for _, entry in ipairs(window) do
      if entry.share == job.list then
        reach(job.list, server.id, entry.order)
        break
      end
    end
    advanceTo(laneOf(chosen.share), window[1].tag)
  end
  local amount = costOf(job)
  charge(job.share, amount)
  leavePool(job)
  if record.server ~= server.id then
    changeServer(id, record.arrival, record.key, record.server, server.id, 'pending')
  end
  writeJob(id, 'server', server.id, 'claimed', now, 'charged', exact(amount), 'updated', now)
  if string.sub(job.class, 1, 1) == '-' and server.title ~= '' then
    writeJobOnce(id, 'fixed', server.title)
  end
  redis.call('ZADD', queueKey(server.id), now, id)
  redis.call('ZADD', KEYS[1] .. 'claimed', now, id)
  redis.call('HSET', KEYS[1] .. 'holds', server.id, chosen.checkpoint)
  redis.call('HDEL', KEYS[1] .. 'idle', server.id)
  if laneOf(job.share) ~= '' then redis.call('HSET', KEYS[1] .. 'yielding', server.id, id) end
  local name = id .. '_' .. record.run
  removeEntry('waiting', name)
  addEntry('generation-' .. server.id, name, id, record.run, job.priority, 0)
  return { id, rank - 1 }
end
