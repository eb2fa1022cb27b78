--[[
  Publishes the state of a download. Progress is ephemeral: more of it follows. KEYS[1] is the common beginning of every
  key.
]]
--- @include "../../events/scripts/publish"
local function recordKey (id) return KEYS[1] .. 'download:' .. id end

local function publishDownload (id)
  local known = redis.call('HMGET', recordKey(id), 'order', 'status', 'received', 'size', 'problem')
  local order, status = cjson.decode(known[1]), known[2]
  local data = {
    download_id = id, filename = order.filename, type = order.type, status = status,
    bytes_received = tonumber(known[3] or '') or 0, bytes_total = tonumber(known[4] or ''),
    error_message = known[5] and known[5] ~= '' and known[5] or nil
  }
  if status == 'downloading' then return publishEphemeral('download-progress', '', '', '', '', data) end
  publish('download-' .. (status == 'pending' and 'added' or status), '', '', '', '', data)
end
