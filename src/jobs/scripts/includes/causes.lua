--[[
  Failed jobs by error code. The code is part of the status in the names of their indexes, as `failed:<code>`, so that
  it combines with keys, servers and the background lane as a status does.

  causes         SET of the codes that failed jobs have
  job:<id> cause `<server>:<code>` of the indexes that the job is in
]]
--- @include "record"
--- @include "indexes"
local causesKey = KEYS[1] .. 'causes'

local function codeOf (failure)
  local isJson, error = pcall(cjson.decode, failure or '')
  return isJson and type(error) == 'table' and type(error.code) == 'string' and error.code or 'unknown'
end

local function forgetUnused (code)
  if redis.call('EXISTS', KEYS[1] .. 'jobs:*:*:failed:' .. code) == 0 then redis.call('SREM', causesKey, code) end
end

-- The server in `cause` differs from that of the record after a process of an earlier version has retried the job.
local function leaveCause (id, record)
  if record.cause == '' then return end
  local server, code = string.match(record.cause, '^([^:]*):(.*)$')
  eachIndex(id, record.key, server, 'failed:' .. code, function (index) redis.call('ZREM', index, id) end)
  forgetUnused(code)
  noteChanged(record.arrival)
  clearJob(id, 'cause')
end

-- `failure`: the error, JSON.
local function enterCause (id, record, failure)
  leaveCause(id, record)
  local code = codeOf(failure)
  local function add (index) redis.call('ZADD', index, record.arrival, id) end
  eachIndex(id, record.key, record.server, 'failed:' .. code, add)
  redis.call('SADD', causesKey, code)
  noteChanged(record.arrival)
  writeJob(id, 'cause', record.server .. ':' .. code)
end
