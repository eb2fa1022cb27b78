--[[
  Renews leases of servers, all of one holder. An expired lease is ours again only if no other process had it since. The
  counter of fences is behind if Redis restarted without its last writes.

  KEYS[1]  common beginning of every key
  ARGV[1]  holder
  ARGV[2]  `<server> <lifetime in milliseconds> <fence> ...`: one text, as it is sent each second

  Answers for each server 1, or 0 if another process has the lease
]]
--- @include "lease-state"
local holder, leases, names, answers, beats = ARGV[1], {}, {}, {}, {}
for server, lifetime, fence in string.gmatch(ARGV[2], '(%S+) (%d+) (%d+)') do
  local name = KEYS[1] .. 'lease:' .. server
  table.insert(leases, { lifetime = lifetime, fence = tonumber(fence) })
  table.insert(names, name)
  table.insert(names, name .. ':fence')
  table.insert(names, name .. ':beat')
end
local now = redis.call('MGET', unpack(names))
for i, own in ipairs(leases) do
  local lease, fences, beat = names[3 * i - 2], names[3 * i - 1], names[3 * i]
  local present, fence = now[3 * i - 2], tonumber(now[3 * i - 1] or 0)
  local renewals, owner = readBeat(now[3 * i])
  if (owner or present or holder) ~= holder or fence > own.fence then
    answers[i] = 0
  else
    if fence < own.fence then redis.call('SET', fences, own.fence) end
    redis.call('SET', lease, holder, 'PX', own.lifetime)
    table.insert(beats, beat)
    table.insert(beats, writeBeat(holder, own.lifetime, own.fence, (tonumber(renewals) or 0) + 1))
    answers[i] = 1
  end
end
if #beats > 0 then redis.call('MSET', unpack(beats)) end
return answers
