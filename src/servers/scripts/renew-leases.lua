--[[
  Renews leases of servers, all of one holder. An expired lease is ours again only if no other process had it since. The
  counter of fences is behind if Redis restarted without its last writes.

  KEYS[1...]  for each server: lease, counter of fences, beat
  ARGV[1]     holder
  ARGV[2...]  for each server: lifetime in milliseconds, fence

  Answers for each server 1, or 0 if another process has the lease
]]
--- @include "lease-state"
local holder, answers, beats = ARGV[1], {}, {}
local now = redis.call('MGET', unpack(KEYS))
for i = 1, #KEYS / 3 do
  local lease, fences, beat = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local lifetime, own = ARGV[2 * i], tonumber(ARGV[2 * i + 1])
  local present, fence = now[3 * i - 2], tonumber(now[3 * i - 1] or 0)
  local renewals, owner = readBeat(now[3 * i])
  if (owner or present or holder) ~= holder or fence > own then
    answers[i] = 0
  else
    if fence < own then redis.call('SET', fences, own) end
    redis.call('SET', lease, holder, 'PX', lifetime)
    table.insert(beats, beat)
    table.insert(beats, writeBeat(holder, lifetime, own, (tonumber(renewals) or 0) + 1))
    answers[i] = 1
  end
end
if #beats > 0 then redis.call('MSET', unpack(beats)) end
return answers
