--[[
  A waiting job that a server claimed goes back into the pool, with a new run, at its old position.
]]
--- @include "../../../events/scripts/publish"
--- @include "withdrawn"
--- @include "pool"
--- @include "indexes"
--- @include "queue"
--- @external "queue-entries"
-- Takes a claimed job away from its server; the caller puts it somewhere else.
local function takeFromServer (id, record, job)
  redis.call('ZREM', queueKey(record.server), id)
  redis.call('ZREM', KEYS[1] .. 'claimed', id)
  -- The process that serves the server begins a claimed job before Redis has confirmed that.
  redis.call('PUBLISH', KEYS[1] .. 'channel:taken', id .. '_' .. record.run)
  removeEntry('generation-' .. record.server, id .. '_' .. record.run)
  refund(job)
end

-- Takes a waiting job from wherever it waits, with its queue entry.
local function leaveWaiting (id, record, job)
  local name = id .. '_' .. record.run
  if record.server ~= '' and redis.call('ZSCORE', queueKey(record.server), id) then
    takeFromServer(id, record, job)
    noteWithdrawn(id, record.server)
  else
    leavePool(job)
    redis.call('ZREM', KEYS[1] .. 'resting', id)
    removeEntry('waiting', name)
  end
end

-- The run after this one, as text.
local function nextRun (record) return string.format('%.0f', record.run + 1) end

-- Enters a job that has no place now into the pool, or lets it rest until then.
local function enterWaiting (id, record, job, from, due)
  local run = nextRun(record)
  if record.server ~= job.target then
    leaveIndexes(id, record.key, record.server, from)
    enterIndexes(id, record.arrival, record.key, job.target, 'pending')
  elseif from ~= 'pending' then
    changeStatus(id, record.arrival, record.key, record.server, from, 'pending')
  end
  writeJob(id, 'status', 'pending', 'server', job.target, 'run', run, 'updated', milliseconds())
  addEntry('waiting', id .. '_' .. run, id, run, job.priority, 0)
  if due and due > milliseconds() then
    writeJob(id, 'rest', due - milliseconds(), pooledFields(job))
    redis.call('ZADD', KEYS[1] .. 'resting', due, id)
  else
    enterPool(job)
  end
  return run
end

-- Enters a job that a server had claimed and not begun, next in line. `patience`: of the dial.
local function returnToOrder (id, record, job, patience, due)
  -- A job that has not begun leaves the choice of its checkpoint to its next server.
  if string.sub(job.class, 1, 1) == '-' then clearJob(id, 'fixed') end
  enterWaiting(id, record, job, 'pending', due)
  -- Nothing passes it any more.
  redis.call('HSET', KEYS[1] .. 'skips', id, patience)
  publish('moved', id, job.target, record.key, 'pending', { position = positionInPool(job), from = record.server })
end
