--[[
  Finds the delayed entries of a queue that are due later than their whole delay from now. Scores are times × 4096.

  KEYS[1]  delayed entries
  ARGV[1]  common beginning of the keys of entries
  ARGV[2]  now, in milliseconds
  ARGV[3]  first rank to check
  ARGV[4]  last rank to check
  ARGV[5]  by how much the clocks of machines can differ, in milliseconds

  Answers { how many were checked, id of one, its delay, id of the next, … }
]]
local entries = redis.call('ZREVRANGE', KEYS[1], ARGV[3], ARGV[4], 'WITHSCORES')
local answer = { #entries / 2 }
for i = 1, #entries, 2 do
  local delay = tonumber(redis.call('HGET', ARGV[1] .. entries[i], 'delay') or '')
  local left = tonumber(entries[i + 1]) / 4096 - tonumber(ARGV[2])
  if delay and left > delay + tonumber(ARGV[5]) then
    answer[#answer + 1] = entries[i]
    answer[#answer + 1] = tostring(delay)
  end
end
return answer
