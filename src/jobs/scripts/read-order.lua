--[[
  Reads the first waiting jobs in the order in which they would run if each checkpoint were loaded: claimed ones, then
  the express list, then the fair order, then that of the background lane.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of a server, for the jobs that it can run; '' for all
  ARGV[2]  how many

  Answers the ids
]]
--- @include "includes/claim"
local server, most = ARGV[1], tonumber(ARGV[2])
local ids = redis.call('ZRANGE', server == '' and KEYS[1] .. 'claimed' or queueKey(server), 0, most - 1)
local can, counts = {}, countsOfClasses()
for i = 1, #counts, 2 do can[counts[i]] = '1' end
if server ~= '' then
  for class in pairs(can) do can[class] = answerOf(server, class) end
end
local read = openList(express, can)
local entry = read()
while entry and #ids < most do
  table.insert(ids, entry.id)
  entry = read()
end
for _, lane in ipairs({ '', background }) do
  local dial = { patience = 1e9, lightPatience = 1e9, lightJobs = 0, longest = most - #ids, sharesOnly = true }
  if dial.longest > 0 then
    for _, entry in ipairs(windowIn(lane, { id = server, loaded = '', default = '' }, can, dial)) do
      table.insert(ids, entry.id)
    end
  end
end
return ids
