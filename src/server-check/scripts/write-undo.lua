--[[
  Stores or deletes the changes that a check must undo.

  KEYS[1]  counter of fences
  KEYS[2]  record
  ARGV[1]  our fence
  ARGV[2]  the record, JSON, or '' to delete it

  Answers 1, or 0 if the fence is not the present one
]]
--- @include "later-fence"
if hasLaterFence(KEYS[1], ARGV[1]) then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[2]) end
return 1
