--[[
  Events for the job's webhook, in the step that makes the event true: the outbox gets the whole record as it is now.
]]
--- @include "../../../redis/scripts/clock"
--- @include "record"
local function enqueueWebhook (event, id)
  local events = redis.call('HGET', jobKey(id), 'webhookEvents')
  if not events or not string.find(events, ',' .. event .. ',', 1, true) then return end
  addToJob(id, 'webhookSequence', 1)
  redis.call('XADD', KEYS[1] .. 'webhook-outbox', '*', '@event', event, '@job', id, '@moment', milliseconds(),
    unpack(redis.call('HGETALL', jobKey(id))))
  redis.call('PUBLISH', KEYS[1] .. 'channel:webhooks', id)
end
