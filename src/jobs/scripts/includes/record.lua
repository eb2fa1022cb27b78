--[[
  The record of a job: one hash. KEYS[1] is the common beginning of every key, hash tag included; further keys are
  derived from it, which a cluster allows because the tag fixes the slot.
]]
local function jobKey (id) return KEYS[1] .. 'job:' .. id end

-- Records change only through the functions below. They raise the counter of the record once a script, so that no
-- process keeps a text of the record that is outdated: see read-stamps.
local raised = {}
local function raiseChanges (id)
  if raised[id] then return end
  raised[id] = true
  redis.call('HINCRBY', jobKey(id), 'changes', 1)
end

-- The first values of a record.
local function newJob (id, ...)
  raised[id] = true
  redis.call('HSET', jobKey(id), 'changes', 1, ...)
end

local function writeJob (id, ...)
  redis.call('HSET', jobKey(id), ...)
  raiseChanges(id)
end

local function writeJobOnce (id, field, value)
  if redis.call('HSETNX', jobKey(id), field, value) == 1 then raiseChanges(id) end
end

local function addToJob (id, field, amount)
  redis.call('HINCRBY', jobKey(id), field, amount)
  raiseChanges(id)
end

-- Makes no record of one that is gone.
local function clearJob (id, ...)
  if redis.call('HDEL', jobKey(id), ...) > 0 then raiseChanges(id) end
end

-- Jobs of the background lane, as far as the script has read or made them.
local inBackground = {}

-- The fields most scripts need, or nil where there is no such job.
local function readJob (id)
  local values = redis.call('HMGET', jobKey(id),
    'status', 'server', 'key', 'arrival', 'run', 'owner', 'bulk', 'background', 'cause')
  if not values[1] then return nil end
  inBackground[id] = values[8] == '1'
  return {
    status = values[1], server = values[2], key = values[3] or '', arrival = values[4], run = values[5],
    owner = values[6] or '', bulk = values[7] or '', cause = values[9] or ''
  }
end
