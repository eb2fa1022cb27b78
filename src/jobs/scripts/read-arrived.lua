--[[
  Finds jobs by their arrivals, which no two have in common.

  KEYS[1]     index
  ARGV[1...]  arrivals

  Answers the id of each, or '' if it is no longer there
]]
local ids = {}
for _, arrival in ipairs(ARGV) do ids[#ids + 1] = redis.call('ZRANGEBYSCORE', KEYS[1], arrival, arrival)[1] or '' end
return ids
