--[[
  Indexes of jobs: one sorted set for each combination of (key or any, server or any, status or any), scored by
  arrival, so that every filter of the list is one exact range.
]]
local function indexesOf (key, servers, status, act)
  for _, k in ipairs(key == '' and { '*' } or { '*', key }) do
    for _, server in ipairs(servers) do
      act(KEYS[1] .. 'jobs:' .. k .. ':' .. server .. ':' .. status)
    end
  end
end

local function eachIndex (key, server, status, act) indexesOf(key, { '*', server }, status, act) end

local function enterIndexes (id, arrival, key, server, status)
  local function add (index) redis.call('ZADD', index, arrival, id) end
  eachIndex(key, server, status, add)
  eachIndex(key, server, '*', add)
end

local function leaveIndexes (id, key, server, status)
  local function remove (index) redis.call('ZREM', index, id) end
  eachIndex(key, server, status, remove)
  eachIndex(key, server, '*', remove)
end

-- The indexes of the status keep the job, those of the server do not.
local function changeServer (id, arrival, key, from, to, status)
  for _, each in ipairs({ status, '*' }) do
    indexesOf(key, { from }, each, function (index) redis.call('ZREM', index, id) end)
    indexesOf(key, { to }, each, function (index) redis.call('ZADD', index, arrival, id) end)
  end
end

local function changeStatus (id, arrival, key, server, from, to)
  eachIndex(key, server, from, function (index) redis.call('ZREM', index, id) end)
  eachIndex(key, server, to, function (index) redis.call('ZADD', index, arrival, id) end)
end
