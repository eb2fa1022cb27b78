--[[
  A job that enters the pool is given to an idle server in the same step, or announced to all servers.
]]
--- @include "claim"
--- @include "gather"
--- @include "lease"
--- @include "make-way"
-- Tells the process that serves a server what it was given: `<server> <fence> [id, fields]`, the last one JSON. The job
-- can begin there at once, without a look at its record or its queue entry.
local function give (server, id)
  redis.call('PUBLISH', KEYS[1] .. 'channel:given', server.id .. ' ' .. server.fence .. ' ' ..
    cjson.encode({ id, redis.call('HGETALL', jobKey(id)) }))
end

-- Lanes and classes that no idle server takes and nothing makes way for, until this script changes the pool.
local unwanted = {}

-- The id of the server that took a job, or nil; and whether the pool changed.
local function offer (job, dialText)
  local class, kind = job.class, laneOf(job.list) .. job.class
  if unwanted[kind] then return nil, false end
  local idle, best = redis.call('HGETALL', KEYS[1] .. 'idle'), nil
  for i = 1, #idle, 2 do
    local server = redis.call('HGET', KEYS[1] .. 'can:' .. idle[i], class) == '1' and cjson.decode(idle[i + 1])
    if server and servesUnder(server.id, server.fence) and
      redis.call('EXISTS', KEYS[1] .. 'lease:' .. server.id) == 1 then
      server.warm = checkpointOf(class, server) == server.loaded
      if not best or (server.warm and not best.warm) or (server.warm == best.warm and server.speed < best.speed) then
        best = server
      end
    end
  end
  if best then
    writeGathered()
    unwanted = {}
    local can, unknown = classesOf(best.id)
    local claimed = #unknown == 0 and redis.call('ZCARD', queueKey(best.id)) == 0 and
      claimFor(best, can, cjson.decode(dialText))
    if claimed then
      give(best, claimed[1])
      return best.id, true
    end
  end
  local madeWay = laneOf(job.list) == '' and makeWay(class, function () return cjson.decode(dialText).patience end)
  announce(class)
  local changed = best ~= nil or madeWay
  if not changed then unwanted[kind] = true end
  return nil, changed
end
