--[[
  Adds and removes the entries of BullMQ's queues within our own scripts, so that a record and its entry change in one
  step. BullMQ's own scripts do the work; their text comes from the installed package. So an entry is the same as one of
  `Queue.add`.
]]
local function addPrioritizedJob (KEYS, ARGV)
--- @external "addPrioritizedJob"
end

local function addDelayedJob (KEYS, ARGV)
--- @external "addDelayedJob"
end

local function removeJob (KEYS, ARGV)
--- @external "removeJob"
end

-- The beginning of the keys of a BullMQ queue.
local function entriesOf (queueName) return KEYS[1] .. 'bull:' .. queueName .. ':' end

-- Adds an entry; adding it twice is harmless. Each has a priority, from 1 to 2,097,152: BullMQ puts entries without
-- priority ahead of all others.
local function addEntry (queueName, name, jobId, run, priority, delayMs)
  local prefix = entriesOf(queueName)
  priority, delayMs = tonumber(priority), tonumber(delayMs)
  -- The same as in the options of the queue, in case no process has opened it yet.
  redis.call('HSETNX', prefix .. 'meta', 'opts.maxLenEvents', 1000)
  local time = redis.call('TIME')
  local arguments = {
    cmsgpack.pack({ prefix, name, 'generate', time[1] * 1000 + math.floor(time[2] / 1000) }),
    '{"jobId":' .. cjson.encode(jobId) .. ',"run":' .. string.format('%.0f', run) .. '}',
    cmsgpack.pack({
      jobId = name,
      priority = priority,
      -- A retry is a new run of the record.
      attempts = 1,
      delay = delayMs,
      removeOnComplete = { age = 3600, count = 200 },
      removeOnFail = { age = 86400, count = 200 }
    })
  }
  if delayMs > 0 then
    addDelayedJob({
      prefix .. 'marker', prefix .. 'meta', prefix .. 'id', prefix .. 'delayed', prefix .. 'completed',
      prefix .. 'events'
    }, arguments)
  else
    addPrioritizedJob({
      prefix .. 'marker', prefix .. 'meta', prefix .. 'id', prefix .. 'prioritized', prefix .. 'delayed',
      prefix .. 'completed', prefix .. 'active', prefix .. 'events', prefix .. 'pc'
    }, arguments)
  end
end

-- Removes an entry, if it exists and no worker holds it.
local function removeEntry (queueName, name)
  local prefix = entriesOf(queueName)
  removeJob({ prefix .. name, prefix .. 'repeat' }, { name, '0', prefix })
end
