--[[
  Takes the lease of a server, if it is free. A holder whose answer was lost gets it again.

  KEYS[1]  lease
  KEYS[2]  counter of fences
  KEYS[3]  beat
  ARGV[1]  holder
  ARGV[2]  lifetime, in milliseconds
  ARGV[3]  beat that was watched for long enough, or ''

  Answers { 1, fence } | { 0, beat, its holder, milliseconds until Redis removes the lease }
]]
--- @include "lease-state"
local holder, lifetime, watched = unpack(ARGV)
local present, beat = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[3])
local _, owner = readBeat(beat)
if (not beat and (not present or present == holder)) or owner == holder or (beat and beat == watched) then
  local fence = redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[1], holder, 'PX', lifetime)
  redis.call('SET', KEYS[3], writeBeat(holder, lifetime, fence, 0))
  return { 1, fence }
end
return { 0, beat or '', owner or present, redis.call('PTTL', KEYS[1]) }
