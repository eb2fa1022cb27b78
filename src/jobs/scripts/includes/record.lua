--[[
  The record of a job: one hash. KEYS[1] is the common beginning of every key, hash tag included; further keys are
  derived from it, which a cluster allows because the tag fixes the slot.
]]
local function jobKey (id) return KEYS[1] .. 'job:' .. id end

-- The fields most scripts need, or nil where there is no such job.
local function readJob (id)
  local values = redis.call('HMGET', jobKey(id),
    'status', 'server', 'key', 'arrival', 'run', 'owner', 'bulk')
  if not values[1] then return nil end
  return {
    status = values[1], server = values[2], key = values[3] or '', arrival = values[4], run = values[5],
    owner = values[6] or '', bulk = values[7] or ''
  }
end
