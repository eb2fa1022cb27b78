--[[
  Reads a page of the jobs of an index that are not in a part of it, at any offset in a few steps.

  KEYS[1]  index
  KEYS[2]  its part
  ARGV[1]  `newest` | `oldest` first
  ARGV[2]  lowest arrival, or '-inf'
  ARGV[3]  arrival before which all are, or '+inf'
  ARGV[4]  arrival at which the page before ended, or ''
  ARGV[5]  how many to skip, if there is no page before
  ARGV[6]  how many at most

  Answers { how many there are within the bounds, id, arrival, ... }
]]
local order, lowest, highest, after, offset, most = unpack(ARGV)
local index, part, isNewest = KEYS[1], KEYS[2], order == 'newest'
local below = highest == '+inf' and highest or '(' .. highest

-- How many jobs of the bounds there are up to an arrival, in this order; without one, how many there are.
local function countIn (set, arrival, isBefore)
  local limit = arrival and (isBefore and '(' or '') .. arrival
  if not arrival then return redis.call('ZCOUNT', set, lowest, below) end
  if isNewest then return redis.call('ZCOUNT', set, limit, below) end
  return redis.call('ZCOUNT', set, lowest, limit)
end

local size, total = countIn(index), countIn(index) - countIn(part)
-- Ranks of the index ahead of the bounds.
local ahead = isNewest and (highest == '+inf' and 0 or redis.call('ZCOUNT', index, highest, '+inf'))
  or (not isNewest and (lowest == '-inf' and 0 or redis.call('ZCOUNT', index, '-inf', '(' .. lowest)) or 0)
local function at (rank)
  return redis.call(isNewest and 'ZREVRANGE' or 'ZRANGE', index, ahead + rank, ahead + rank, 'WITHSCORES')
end

-- The rank of the job with so many others of this kind ahead: the last with no more.
local function rankOf (others)
  local least, last = 0, size - 1
  while least < last do
    local middle = math.ceil((least + last) / 2)
    local arrival = at(middle)[2]
    if middle - countIn(part, arrival, true) <= others then least = middle else last = middle - 1 end
  end
  return least
end

local skip = after ~= '' and countIn(index, after) - countIn(part, after) or tonumber(offset)
local answer, rank = { total }, nil
for others = skip, math.min(skip + most, total) - 1 do
  local job = rank and at(rank + 1)
  if job and not redis.call('ZSCORE', part, job[1]) then
    rank = rank + 1
  else
    rank = rankOf(others)
    job = at(rank)
  end
  answer[#answer + 1] = job[1]
  answer[#answer + 1] = job[2]
end
return answer
