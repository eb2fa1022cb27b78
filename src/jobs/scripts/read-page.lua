--[[
  Reads a page of an index. Ranks make any offset as fast as none; a cursor is a score.

  KEYS[1]  index
  ARGV[1]  `newest` | `oldest` first
  ARGV[2]  lowest arrival, or '-inf'
  ARGV[3]  arrival before which all are, or '+inf'
  ARGV[4]  arrival at which the page before ended, or ''
  ARGV[5]  how many to skip, if there is no page before
  ARGV[6]  how many at most

  Answers { how many there are within the bounds, id, arrival, ... }
]]
local order, lowest, highest, after, offset, most = unpack(ARGV)
local index, isNewest = KEYS[1], order == 'newest'
local below = highest == '+inf' and highest or '(' .. highest
local total = lowest == '-inf' and highest == '+inf' and redis.call('ZCARD', index)
  or redis.call('ZCOUNT', index, lowest, below)
local answer
if after ~= '' and isNewest then
  answer = redis.call('ZREVRANGEBYSCORE', index, '(' .. after, lowest, 'WITHSCORES', 'LIMIT', 0, most)
elseif after ~= '' then
  answer = redis.call('ZRANGEBYSCORE', index, '(' .. after, below, 'WITHSCORES', 'LIMIT', 0, most)
else
  local ahead = isNewest and (highest == '+inf' and 0 or redis.call('ZCOUNT', index, highest, '+inf'))
    or (lowest == '-inf' and 0 or redis.call('ZCOUNT', index, '-inf', '(' .. lowest))
  local last = math.min(offset + most, total)
  answer = last <= tonumber(offset) and {}
    or redis.call(isNewest and 'ZREVRANGE' or 'ZRANGE', index, ahead + offset, ahead + last - 1, 'WITHSCORES')
end
table.insert(answer, 1, total)
return answer
