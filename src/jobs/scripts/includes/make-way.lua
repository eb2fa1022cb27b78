--[[
  A job of the background lane that a server claimed and has not begun makes way for a job outside the lane.
]]
--- @include "../../../events/scripts/publish"
--- @include "claim"
--- @include "gather"
--- @include "give-back"
-- Gives one such job back if its server can run the class, the one that was claimed first. `yielding` has the last job
-- of the lane that each server claimed. `patienceOf` answers the patience of the dial. Whether it gave one back.
local function makeWay (class, patienceOf)
  local claimed, first, since = redis.call('HGETALL', KEYS[1] .. 'yielding'), nil, nil
  for i = 1, #claimed, 2 do
    local server, id = claimed[i], claimed[i + 1]
    local record, moment = readJob(id), redis.call('ZSCORE', queueKey(server), id)
    if not moment or not record or record.status ~= 'pending' or record.server ~= server or not inBackground[id] then
      redis.call('HDEL', KEYS[1] .. 'yielding', server)
    elseif answerOf(server, class) == '1' and (not first or tonumber(moment) < since) then
      first, since = { id = id, record = record }, tonumber(moment)
    end
  end
  if not first then return false end
  writeGathered()
  redis.call('HDEL', KEYS[1] .. 'yielding', first.record.server)
  local job = readPooled(first.id)
  leaveWaiting(first.id, first.record, job)
  returnToOrder(first.id, first.record, job, patienceOf())
  return true
end
