--[[
  Releases the lease of a server, if it is ours, or gives it to another holder in the same step. The heir gets a fence
  of its own when it takes the lease up, like a holder whose answer was lost; if it does not, its lease expires.

  KEYS[1]  lease
  KEYS[2]  beat
  ARGV[1]  holder
  ARGV[2]  heir, or ''
  ARGV[3]  lifetime of the heir's lease, in milliseconds

  Answers 1
]]
local holder, heir, lifetime = unpack(ARGV)
local fence, owner = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+)%S+ (.*)$')
if redis.call('GET', KEYS[1]) == holder then redis.call('DEL', KEYS[1]) end
if owner ~= holder then return 1 end
if heir == '' then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[1], heir, 'PX', lifetime)
  redis.call('SET', KEYS[2], fence .. '.0.' .. lifetime .. ' ' .. heir)
end
return 1
