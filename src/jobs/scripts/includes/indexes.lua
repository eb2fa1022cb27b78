--[[
  Indexes of jobs: one sorted set for each combination of (key or any, server or any, status or any), scored by
  arrival, so that every filter of the list is one exact range. Jobs of the background lane are in a second set of
  them, where a ~ is in front of the key; the caller has read or made the job's record.
]]
--- @include "search-changes"
local function indexesOf (id, key, servers, status, act)
  for _, k in ipairs(key == '' and { '*' } or { '*', key }) do
    for _, server in ipairs(servers) do
      local index = k .. ':' .. server .. ':' .. status
      act(KEYS[1] .. 'jobs:' .. index)
      if inBackground[id] then act(KEYS[1] .. 'jobs:~' .. index) end
    end
  end
end

local function eachIndex (id, key, server, status, act) indexesOf(id, key, { '*', server }, status, act) end

-- Those of the status and of any.
local function everyIndex (id, key, server, status, act)
  eachIndex(id, key, server, status, act)
  eachIndex(id, key, server, '*', act)
end

local function enterIndexes (id, arrival, key, server, status)
  everyIndex(id, key, server, status, function (index) redis.call('ZADD', index, arrival, id) end)
  noteChanged(arrival)
end

local function leaveIndexes (id, key, server, status)
  everyIndex(id, key, server, status, function (index) redis.call('ZREM', index, id) end)
end

-- The indexes of the status keep the job, those of the server do not.
local function changeServer (id, arrival, key, from, to, status)
  for _, each in ipairs({ status, '*' }) do
    indexesOf(id, key, { from }, each, function (index) redis.call('ZREM', index, id) end)
    indexesOf(id, key, { to }, each, function (index) redis.call('ZADD', index, arrival, id) end)
  end
  noteChanged(arrival)
end

local function changeStatus (id, arrival, key, server, from, to)
  eachIndex(id, key, server, from, function (index) redis.call('ZREM', index, id) end)
  eachIndex(id, key, server, to, function (index) redis.call('ZADD', index, arrival, id) end)
  noteChanged(arrival)
end
