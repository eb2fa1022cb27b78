--[[
  Ends a check and stores its report, which can be a later one of a check that is over already.

  KEYS[1]  counter of fences
  KEYS[2]  check
  KEYS[3]  report
  KEYS[4]  request to cancel the check
  ARGV[1]  our fence
  ARGV[2]  id of the check
  ARGV[3]  the report, JSON

  Answers 1, or 0 if the fence is not the present one
]]
--- @include "later-fence"
if hasLaterFence(KEYS[1], ARGV[1]) then return 0 end
local before = redis.call('GET', KEYS[2])
if before and cjson.decode(before).id == ARGV[2] then redis.call('DEL', KEYS[2], KEYS[4]) end
redis.call('SET', KEYS[3], ARGV[3])
return 1
