--[[
  Indexes of jobs: one sorted set for each combination of (key or any, server or any, status or any), scored by
  arrival, so that every filter of the list is one exact range.
]]
local function eachIndex (key, server, status, act)
  local keys = key == '' and { '*' } or { '*', key }
  for _, k in ipairs(keys) do
    for _, s in ipairs({ '*', server }) do
      act(KEYS[1] .. 'jobs:' .. k .. ':' .. s .. ':' .. status)
    end
  end
end

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
  for _, k in ipairs(key == '' and { '*' } or { '*', key }) do
    for _, st in ipairs({ status, '*' }) do
      redis.call('ZREM', KEYS[1] .. 'jobs:' .. k .. ':' .. from .. ':' .. st, id)
      redis.call('ZADD', KEYS[1] .. 'jobs:' .. k .. ':' .. to .. ':' .. st, arrival, id)
    end
  end
end

local function changeStatus (id, arrival, key, server, from, to)
  eachIndex(key, server, from, function (index) redis.call('ZREM', index, id) end)
  eachIndex(key, server, to, function (index) redis.call('ZADD', index, arrival, id) end)
end
