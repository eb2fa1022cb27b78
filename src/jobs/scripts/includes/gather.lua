--[[
  What several jobs add to the same keys, gathered into one command a key: the call of a command costs Redis more than
  adding one member. A script calls `writeGathered` before anything else reads or writes these keys, and at its end.
]]
--- @include "pool"
local setsGathered, membersGathered, countsGathered = {}, {}, {}

-- For a sorted set.
local function gatherMember (key, score, member)
  local members = membersGathered[key]
  if not members then
    members = {}
    membersGathered[key] = members
    table.insert(setsGathered, key)
  end
  table.insert(members, score)
  table.insert(members, member)
end

-- Members that are gathered for a sorted set.
local function countGathered (key) return membersGathered[key] and #membersGathered[key] / 2 or 0 end

-- A job that entered the lists of the pool.
local function gatherCount (job)
  local count = countsGathered[job.class] or { needs = job.needs, jobs = 0, ms = 0 }
  count.jobs, count.ms = count.jobs + 1, count.ms + tonumber(job.ms)
  countsGathered[job.class] = count
end

local function writeGathered ()
  local sets, members, counts = setsGathered, membersGathered, countsGathered
  setsGathered, membersGathered, countsGathered = {}, {}, {}
  for class, count in pairs(counts) do countJobs(class, count.needs, count.jobs, count.ms) end
  local fault
  for _, key in ipairs(sets) do
    local answer = redis.pcall('ZADD', key, unpack(members[key]))
    if type(answer) == 'table' then fault = fault or answer end
  end
  -- A set that fails does not affect the others.
  if fault then error(fault) end
end
