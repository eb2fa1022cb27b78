--[[
  The queue of a server: one sorted set, scored by lane and then by the order of entry.
]]
local function queueKey (server) return KEYS[1] .. 'line:' .. server end

-- Scores of one lane rise with each entry; lanes lie far enough apart for a trillion entries.
local function nextScore (lane)
  return string.format('%.0f', tonumber(lane) * 1e12 + redis.call('INCR', KEYS[1] .. 'places'))
end

-- From 1.
local function positionOf (server, id)
  return redis.call('ZRANK', queueKey(server), id) + 1
end
