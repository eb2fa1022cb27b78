--[[
  Reads what a server runs and what waits for it, for predictions.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the server
  ARGV[2]  how many waiting jobs to read

  Answers { costs of the server, JSON, or '', length of the queue, running jobs, waiting jobs }; each job is
    { id, access key, workload, start, progress }
]]
--- @include "includes/record"
--- @include "includes/queue"
local server, most = unpack(ARGV)
local function facts (ids)
  local found = {}
  for _, id in ipairs(ids) do
    local values = redis.call('HMGET', jobKey(id), 'key', 'cost', 'started', 'progress')
    table.insert(found, { id, values[1] or '', values[2] or '', values[3] or '', values[4] or '' })
  end
  return found
end
local queue = queueKey(server)
return {
  redis.call('GET', KEYS[1] .. 'server:' .. server .. ':costs') or '',
  redis.call('ZCARD', queue),
  facts(redis.call('ZRANGE', KEYS[1] .. 'jobs:*:' .. server .. ':processing', 0, -1)),
  most == '0' and {} or facts(redis.call('ZRANGE', queue, 0, most - 1))
}
