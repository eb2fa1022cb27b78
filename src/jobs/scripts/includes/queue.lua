--[[
  The queue of a server: one sorted set, scored by lane and then by the order of entry.
]]
--- @include "../../../redis/scripts/clock"
local function queueKey (server) return KEYS[1] .. 'line:' .. server end

-- Scores of one lane rise with each entry; lanes lie far enough apart for a trillion entries.
local function nextScore (lane)
  return string.format('%.0f', tonumber(lane) * 1e12 + redis.call('INCR', KEYS[1] .. 'places'))
end

-- From 1.
local function positionOf (server, id)
  return redis.call('ZRANK', queueKey(server), id) + 1
end

-- Notes that a job which entered a queue still needs its BullMQ entry, so that a crash before that is noticed.
local function expectEntry (server, id, run)
  redis.call('ZADD', KEYS[1] .. 'entering:' .. server, milliseconds(), id .. '_' .. string.format('%.0f', run))
end
