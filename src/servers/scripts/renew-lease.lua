--[[
  Renews the lease of a server. An expired lease is ours again only if no other process had it since. The counter is
  behind if Redis restarted without its last writes.

  KEYS[1]  lease
  KEYS[2]  counter of fences
  KEYS[3]  beat
  ARGV[1]  holder
  ARGV[2]  lifetime, in milliseconds
  ARGV[3]  fence

  Answers 1, or 0 if another process has the lease
]]
--- @include "lease-state"
if (owner or present or holder) ~= holder then return 0 end
local fence = tonumber(redis.call('GET', KEYS[2]) or 0)
if fence > tonumber(ARGV[3]) then return 0 end
if fence < tonumber(ARGV[3]) then redis.call('SET', KEYS[2], ARGV[3]) end
keepLease(ARGV[3], (tonumber(renewals) or 0) + 1)
return 1
