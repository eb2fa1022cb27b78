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

-- The jobs of one share that the server can run, in their order, read as they are needed: each answer is the member
-- of the list and its order.
local function openList (share, can)
  local list, from, skipped, taken = listKey(share), 0, 0, {}
  -- What was read and not answered yet: members and orders in turn.
  local members, at = {}, 1

  local function readClasses ()
    local all = {}
    for class, answer in pairs(can) do
      if answer == '1' then
        local read = redis.call('ZRANGE', list .. ':' .. class, 0, 255, 'WITHSCORES')
        for i = 1, #read, 2 do
          if not taken[read[i]] then table.insert(all, { member = read[i], order = tonumber(read[i + 1]) }) end
        end
      end
    end
    table.sort(all, function (one, other)
      if one.order ~= other.order then return one.order < other.order end
      return one.member < other.member
    end)
    members, at, from = {}, 1, nil
    for _, entry in ipairs(all) do
      table.insert(members, entry.member)
      table.insert(members, entry.order)
    end
  end

  return function ()
    while true do
      local member, order = members[at], members[at + 1]
      if member then
        at = at + 2
        if can[string.match(member, '^[^:]*')] == '1' then
          taken[member] = true
          return member, tonumber(order)
        end
        skipped = skipped + 1
      elseif not from then
        return nil
      elseif skipped > skippedAtMost then
        readClasses()
      else
        -- The first job is often the choice.
        local count = from == 0 and firstPage or page
        members, at = redis.call('ZRANGE', list, from, from + count - 1, 'WITHSCORES'), 1
        from = #members == 2 * count and from + count or nil
      end
    end
  end
end

-- The classes of the jobs of the pool and their numbers, in turn. Read once a script: no job enters afterwards.
local classCounts
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

-- The jobs among which the server can choose: the fair order, as far as the patience of those ahead reaches. Jobs of
-- the express list are in it only by themselves.
local function windowOf (server, can, dial)
  local window, reach, most = {}, math.huge, math.min(dial.longest, runnable(can))
  -- Thousands of shares can have nothing for this server.
  if most == 0 then return window end

  local function append (entry, patience)
    entry.skips = tonumber(redis.call('HGET', KEYS[1] .. 'skips', entry.id) or 0)
    table.insert(window, entry)
    reach = math.min(reach, #window - 1 + math.max(0, patience - entry.skips))
  end

  local function entryOf (member, order, share, tag)
    local class, ms, weight, id = readMember(member)
    return {
      id = id, member = member, order = order, share = share, tag = tag, seconds = tonumber(ms) / 1000,
      weight = tonumber(weight), checkpoint = checkpointOf(class, server)
    }
  end

  if not dial.sharesOnly then
    local first, order = openList(express, can)()
    if first then
      append(entryOf(first, order, express, nil), 0)
      return window
    end
  end

  local open, seen, unread, virtual = {}, 0, {}, virtualNow()
  -- The share with the least tag that is not open yet.
  local function nextShare ()
    if #unread == 0 then
      local shares = redis.call('ZRANGE', fairKey, seen, seen + page - 1, 'WITHSCORES')
      seen = seen + #shares / 2
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
      fresh.member, fresh.order = fresh.read()
      if fresh.member then
        fresh.weight = weightOf(fresh.share)
        local light = redis.call('ZCARD', listKey(fresh.share)) <= dial.lightJobs
        fresh.patience = light and dial.lightPatience or dial.patience
        table.insert(open, fresh)
      end
    elseif best then
      local entry = entryOf(best.member, best.order, best.share, best.tag)
      append(entry, best.patience)
      -- It is the choice: what stands behind it does not matter.
      if not dial.sharesOnly and entry.checkpoint == server.loaded then return window end
      best.tag = best.tag + entry.seconds / (best.weight * entry.weight)
      best.member, best.order = best.read()
      if not best.member then table.remove(open, place) end
    else
      break
    end
  end
  return window
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
        local reached = tonumber(redis.call('HGET', KEYS[1] .. 'flows:' .. job.list, 'now') or 0)
        if entry.order > reached then keepFlows(job.list, 'now', exact(entry.order)) end
        break
      end
    end
    advanceTo(window[1].tag)
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
  local name = id .. '_' .. record.run
  removeEntry('waiting', name)
  addEntry('generation-' .. server.id, name, id, record.run, job.priority, 0)
  return { id, rank - 1 }
end
