--[[
  Gives a task another status, if it has one of the given ones.

  KEYS[1]     record
  ARGV[1]     how long to keep the record, in seconds, or 0
  ARGV[2]     number of statuses that it can have now
  ARGV[3...]  those statuses, the new one, then fields and values to write

  Answers 1, or 0 if it has another status
]]
local status = redis.call('HGET', KEYS[1], 'status')
local count = tonumber(ARGV[2])
for index = 3, count + 2 do
  if ARGV[index] == status then
    redis.call('HSET', KEYS[1], 'status', ARGV[count + 3], unpack(ARGV, count + 4))
    if ARGV[1] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
    return 1
  end
end
return 0
