--[[
  Counts the images of some jobs.

  KEYS[1]     common beginning of every key
  ARGV[1...]  ids of jobs

  Answers how many images they have
]]
--- @include "includes/result"
local count = 0
for i = 1, #ARGV do
  local images = readResult(redis.call('HGET', jobKey(ARGV[i]), 'result'))
  count = count + images
end
return count
