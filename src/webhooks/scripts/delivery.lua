--[[
  The record of a delivery and its indexes: one sorted set for each combination of (access key or any, state or any),
  scored by time, and one for each job. KEYS[1] is the common beginning of every key.
]]
local function recordKey (id) return KEYS[1] .. 'delivery:' .. id end

local function eachIndex (key, state, act)
  act(KEYS[1] .. 'deliveries:*:' .. state)
  if key ~= '' then act(KEYS[1] .. 'deliveries:' .. key .. ':' .. state) end
end

local function enterIndexes (id, key, state, created)
  eachIndex(key, state, function (index) redis.call('ZADD', index, created, id) end)
end

local function leaveIndexes (id, key, state)
  eachIndex(key, state, function (index) redis.call('ZREM', index, id) end)
end

local function changeState (id, key, from, to, created)
  if from == to then return end
  leaveIndexes(id, key, from)
  enterIndexes(id, key, to, created)
end
