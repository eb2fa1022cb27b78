--[[
  Finds jobs by their arrivals, which no two have in common.

  KEYS[1]     index
  ARGV[1...]  arrivals

  Answers the id of each, or '' if it is no longer there
]]
local ids = {}
for at = 1, #ARGV do
  ids[at] = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[at], ARGV[at])[1] or ''
end
return ids
