--[[
  Publishes events in the step that makes them true. KEYS[1] is the common beginning of every key.
  `publish` also stores the event in a capped stream. Listeners get the id that it has there, so that those who missed
  some find the rest in the stream. `publishEphemeral` reaches only listeners that are connected now.
]]
--- @include "../../redis/scripts/clock"
-- Least number of stored events; a client that reconnects later must reload its lists.
local keptEvents = 10000

-- `data` is JSON, or ''.
local function sendToListeners (event, data)
  local text = cjson.encode(event)
  if data ~= '' then text = string.sub(text, 1, -2) .. ',"data":' .. data .. '}' end
  redis.call('PUBLISH', KEYS[1] .. 'channel:jobs', text)
end

local function publish (kind, job, server, key, status, data)
  local text = data and cjson.encode(data) or ''
  local id = redis.call('XADD', KEYS[1] .. 'events', 'MAXLEN', '~', keptEvents, '*', 'kind', kind, 'job', job,
    'server', server, 'key', key, 'status', status, 'data', text)
  sendToListeners({ id = id, kind = kind, job = job, server = server, key = key, status = status }, text)
end

local function publishEphemeral (kind, job, server, key, status, data)
  sendToListeners({
    kind = kind, job = job, server = server, key = key, status = status, moment = milliseconds()
  }, data and cjson.encode(data) or '')
end
