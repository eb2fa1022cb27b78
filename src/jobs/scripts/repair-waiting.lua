--[[
  Compares the entries of the queue `waiting` with the records of waiting jobs, a page at a time: adds the missing ones,
  or removes those that belong to no waiting job.

  KEYS[1]  common beginning of every key
  ARGV[1]  `missing` | `void`
  ARGV[2]  where the last page ended, '0' at first
  ARGV[3]  how many to look at

  Answers { where this page ended or '' at the end, number of changed entries }
]]
--- @include "../../redis/scripts/clock"
--- @include "includes/record"
--- @external "queue-entries"
local what, after, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local entries, changed = KEYS[1] .. 'bull:waiting:prioritized', 0

-- The name of the entry that a job must have in this queue, or nil.
local function nameOf (id)
  local values = redis.call('HMGET', jobKey(id), 'run', 'status', 'class', 'claimed')
  if values[2] ~= 'pending' or not values[3] or values[4] then return nil end
  return id .. '_' .. values[1]
end

if what == 'missing' then
  local found = redis.call('ZRANGEBYSCORE', KEYS[1] .. 'jobs:*:*:pending', '(' .. after, '+inf', 'WITHSCORES',
    'LIMIT', 0, most)
  for i = 1, #found, 2 do
    local name = nameOf(found[i])
    if name and not redis.call('ZSCORE', entries, name) then
      local values = redis.call('HMGET', jobKey(found[i]), 'run', 'priority')
      removeEntry('waiting', name)
      addEntry('waiting', name, found[i], values[1], values[2], 0)
      changed = changed + 1
    end
  end
  return { #found == most * 2 and found[#found] or '', changed }
end

local from = tonumber(after)
local names = redis.call('ZRANGE', entries, from, from + most - 1)
for _, name in ipairs(names) do
  if nameOf(string.match(name, '^(.*)_') or '') ~= name then
    removeEntry('waiting', name)
    changed = changed + 1
  end
end
return { #names == most and string.format('%.0f', from + most - changed) or '', changed }
