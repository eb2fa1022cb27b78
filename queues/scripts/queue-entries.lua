--[[
  Adds and removes the entries of BullMQ's queues within our own scripts, so that a record and its entry change in one
  step. What is usual, adding a new entry that need not rest and removing one that waits, happens here with half of the
  commands of BullMQ's scripts; those, whose text comes from the installed package, do all else. queue-entries.test.ts
  compares both with `Queue.add` and `Queue.remove`. Scripts include the clock first.
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

local eventsKept = 1000
-- The options of an entry, as in `JobsOptions`.
local function optionsOf (name, priority, delayMs)
  return {
    jobId = name,
    priority = priority,
    -- A retry is a new run of the record.
    attempts = 1,
    delay = delayMs,
    removeOnComplete = { age = 3600, count = 200 },
    removeOnFail = { age = 86400, count = 200 }
  }
end

local function noteEvent (prefix, ...)
  redis.call('XADD', prefix .. 'events', 'MAXLEN', '~', eventsKept, '*', 'event', ...)
end

-- Adds an entry that does not exist and that a worker can take at once.
local function addNewEntry (prefix, name, data, options, timestamp)
  local meta = redis.call('HMGET', prefix .. 'meta', 'paused', 'concurrency', 'opts.maxLenEvents')
  -- The same as in the options of the queue, in case no process has opened it yet.
  if not meta[3] then redis.call('HSET', prefix .. 'meta', 'opts.maxLenEvents', eventsKept) end
  redis.call('INCR', prefix .. 'id')
  redis.call('HSET', prefix .. name, 'name', 'generate', 'data', data, 'opts', cjson.encode(options),
    'timestamp', timestamp, 'delay', 0, 'priority', options.priority)
  noteEvent(prefix, 'added', 'jobId', name, 'name', 'generate')
  -- Entries of one priority go by their number.
  local number = redis.call('INCR', prefix .. 'pc')
  redis.call('ZADD', prefix .. 'prioritized', options.priority * 0x100000000 + number % 0x100000000, name)
  local full = meta[2] and redis.call('LLEN', prefix .. 'active') >= tonumber(meta[2])
  if not meta[1] and not full then redis.call('ZADD', prefix .. 'marker', 0, '0') end
  noteEvent(prefix, 'waiting', 'jobId', name)
end

-- The queue of the pool, which has no worker: its entries are only shown.
local shownQueue = 'waiting'

-- Adds an entry that does not exist and that no worker takes. It needs no marker, and nobody hears its events. Redis
-- keeps a hash in one piece if no value has more than 64 bytes, so its options are only those that are shown.
local function addShownEntry (prefix, name, data, priority, timestamp)
  redis.call('HSET', prefix .. name, 'name', 'generate', 'data', data,
    'opts', '{"attempts":1,"priority":' .. priority .. '}', 'timestamp', timestamp, 'delay', 0, 'priority', priority)
  local number = redis.call('INCR', prefix .. 'pc')
  redis.call('ZADD', prefix .. 'prioritized', priority * 0x100000000 + number % 0x100000000, name)
end

-- Adds an entry; adding it twice is harmless. Each has a priority, from 1 to 2,097,152: BullMQ puts entries without
-- priority ahead of all others.
local function addEntry (queueName, name, jobId, run, priority, delayMs)
  local prefix = entriesOf(queueName)
  local timestamp = milliseconds()
  local data = '{"jobId":' .. cjson.encode(jobId) .. ',"run":' .. string.format('%.0f', run) .. '}'
  local isNew = tonumber(delayMs) == 0 and redis.call('EXISTS', prefix .. name) == 0
  if isNew and queueName == shownQueue then
    addShownEntry(prefix, name, data, priority, timestamp)
    return
  end
  local options = optionsOf(name, tonumber(priority), tonumber(delayMs))
  if isNew then
    addNewEntry(prefix, name, data, options, timestamp)
    return
  end
  redis.call('HSETNX', prefix .. 'meta', 'opts.maxLenEvents', eventsKept)
  local arguments = { cmsgpack.pack({ prefix, name, 'generate', timestamp }), data, cmsgpack.pack(options) }
  if options.delay > 0 then
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
  local key = prefix .. name
  local family = redis.call('HMGET', key, 'name', 'parentKey', 'rjk', 'deid')
  local isUsual = family[1] and not (family[2] or family[3] or family[4])
    and redis.call('EXISTS', key .. ':lock') == 0
  if isUsual and redis.call('ZREM', prefix .. 'prioritized', name) == 1 then
    redis.call('DEL', key, key .. ':logs', key .. ':dependencies', key .. ':processed', key .. ':failed',
      key .. ':unsuccessful')
    if queueName ~= shownQueue then noteEvent(prefix, 'removed', 'jobId', name, 'prev', 'prioritized') end
    return
  end
  removeJob({ key, prefix .. 'repeat' }, { name, '0', prefix })
end
