--[[
  Reads which blocks of the search text have changed.

  KEYS[1]  common beginning of every key
  ARGV[1]  counter of the changes at the last call, or '' for all blocks

  Answers { 'incomplete' } if the search text lacks jobs |
    { counter, how many blocks there are, block, first arrival, ... }
]]
--- @include "includes/search"
if redis.call('GET', fromKey) ~= '0' and redis.call('EXISTS', KEYS[1] .. 'jobs:*:*:*') == 1 then
  return { 'incomplete' }
end
local answer = { redis.call('GET', KEYS[1] .. 'search-changes') or '0', redis.call('ZCARD', blocksKey) }
if ARGV[1] == '' then
  for _, value in ipairs(redis.call('ZRANGE', blocksKey, 0, -1, 'WITHSCORES')) do answer[#answer + 1] = value end
  return answer
end
for _, block in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1] .. 'search-changed', '(' .. ARGV[1], '+inf')) do
  local first = redis.call('ZSCORE', blocksKey, block)
  if first then
    answer[#answer + 1] = block
    answer[#answer + 1] = first
  end
end
return answer
