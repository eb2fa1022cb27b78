--[[
  Gives a download another status, if it has one of some and is in the right round.

  KEYS[1]     common beginning of every key
  ARGV[1]     id
  ARGV[2]     round, or '' for any
  ARGV[3]     new status
  ARGV[4]     number of statuses that it may have now
  ARGV[5...]  those statuses, then fields and values to write

  Answers 1, or 0 if it has another status or round
]]
--- @include "publish-download"
local id, round, to, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local status = redis.call('HGET', recordKey(id), 'status')
if round ~= '' and round ~= (redis.call('HGET', recordKey(id), 'round') or '0') then return 0 end
for index = 5, count + 4 do
  if ARGV[index] == status then
    redis.call('HSET', recordKey(id), 'status', to, unpack(ARGV, count + 5))
    if to == 'cancelled' then redis.call('HINCRBY', recordKey(id), 'round', 1) end
    publishDownload(id)
    return 1
  end
end
return 0
