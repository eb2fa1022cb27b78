--[[
  Which blocks of the search text can have other results than before: a job came, went, or changed its text or indexes.
  Processes keep the results of searches, and look again only through what has changed since.

  search-changes  counter of the changes
  search-changed  ZSET of the blocks that exist, by the counter at their last change
]]
local noted = {}
-- Arrivals of jobs whose block is noted.
local notedJobs = {}

-- `arrival` is that of the changed job, if the caller knows it.
local function noteBlock (block, arrival)
  if arrival then notedJobs[arrival] = true end
  if noted[block] then return end
  noted[block] = true
  redis.call('ZADD', KEYS[1] .. 'search-changed', redis.call('INCR', KEYS[1] .. 'search-changes'), block)
end

-- By the arrival of the job.
local function noteChanged (arrival)
  if notedJobs[arrival] then return end
  local block = redis.call('ZREVRANGEBYSCORE', KEYS[1] .. 'search', arrival, '-inf', 'LIMIT', 0, 1)[1]
  if block then noteBlock(block, arrival) end
end
