--[[
  Publishes the state of a delivery; clients that missed it find it in the lists.
]]
--- @include "../../events/scripts/publish"
--- @include "delivery"
local function publishDelivery (id)
  local known = redis.call('HMGET', recordKey(id), 'type', 'state', 'jobId', 'keyId')
  publishEphemeral('delivery', known[3] or '', '', known[4] or '', '',
    { delivery_id = id, type = known[1], state = known[2] })
end
