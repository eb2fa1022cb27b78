--[[
  Renews leases of servers, all of one holder. An expired lease is ours again only if no other process had it since. The
  counter of fences is behind if Redis restarted without its last writes.

  KEYS[1...]  for each server: lease, counter of fences, beat
  ARGV[1]     holder
  ARGV[2...]  for each server: lifetime in milliseconds, fence

  Answers for each server 1, or 0 if another process has the lease
]]
--- @include "lease-state"
local holder, answers = ARGV[1], {}
for i = 1, #KEYS / 3 do
  local lease, fences, beat = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local lifetime, own = ARGV[2 * i], tonumber(ARGV[2 * i + 1])
  local state = readLease(lease, beat)
  local fence = tonumber(redis.call('GET', fences) or 0)
  if (state.owner or state.present or holder) ~= holder or fence > own then
    answers[i] = 0
  else
    if fence < own then redis.call('SET', fences, own) end
    keepLease(lease, beat, holder, lifetime, own, (tonumber(state.renewals) or 0) + 1)
    answers[i] = 1
  end
end
return answers
