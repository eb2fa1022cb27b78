--[[
  Counts the images of some jobs.

  KEYS[1]     common beginning of every key
  ARGV[1...]  ids of jobs

  Answers how many images they have
]]
--- @include "includes/record"
local count = 0
for i = 1, #ARGV do
  local _, images = string.gsub(redis.call('HGET', jobKey(ARGV[i]), 'result') or '', '"sha256":', '')
  count = count + images
end
return count
