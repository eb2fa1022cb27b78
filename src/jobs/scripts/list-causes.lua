--[[
  Lists the error codes of the failed jobs in an index.

  KEYS[1]  common beginning of every key
  KEYS[2]  index of failed jobs

  Answers { 1, code, ... } | { 0 } if the indexes of the codes have other jobs than this one: a process of an earlier
    version has ended, retried or removed some
]]
local answer, sum, first, last = { 1 }, 0, math.huge, -math.huge
local function arrivalAt (index, rank) return tonumber(redis.call('ZRANGE', index, rank, rank, 'WITHSCORES')[2]) end
for _, code in ipairs(redis.call('SMEMBERS', KEYS[1] .. 'causes')) do
  local index = KEYS[2] .. ':' .. code
  local count = redis.call('ZCARD', index)
  sum = sum + count
  if count > 0 then
    answer[#answer + 1] = code
    first, last = math.min(first, arrivalAt(index, 0)), math.max(last, arrivalAt(index, -1))
  end
end
if sum ~= redis.call('ZCARD', KEYS[2]) then return { 0 } end
-- As many can have been added as removed: the newest ones fail, and the oldest ones are removed.
if sum > 0 and (first ~= arrivalAt(KEYS[2], 0) or last ~= arrivalAt(KEYS[2], -1)) then return { 0 } end
return answer
