--[[
  Stores the state of a check that is under way.

  KEYS[1]  counter of fences
  KEYS[2]  check
  ARGV[1]  our fence
  ARGV[2]  id of the check
  ARGV[3]  the check, JSON

  Answers 1, or 0 if the fence is not the present one or the check is over
]]
--- @include "later-fence"
if hasLaterFence(KEYS[1], ARGV[1]) then return 0 end
local before = redis.call('GET', KEYS[2])
if not before or cjson.decode(before).id ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[2], ARGV[3])
return 1
