--[[
  Reads which blocks of the search text have changed. If none has, a process knows the arrivals of its page already, and
  gets the ids at once.

  KEYS[1]     common beginning of every key
  KEYS[2]     index of the arrivals; KEYS[1] if there are none
  ARGV[1]     counter of the changes at the last call, or '' for all blocks
  ARGV[2...]  arrivals

  Answers { 'incomplete' } if the search text lacks jobs |
    { counter, how many blocks there are, { block, first arrival, ... }, { id of each arrival, or '', ... } }; there are
    no ids if blocks have changed
]]
--- @include "includes/search"
if redis.call('GET', fromKey) ~= '0' and redis.call('EXISTS', KEYS[1] .. 'jobs:*:*:*') == 1 then
  return { 'incomplete' }
end
local changes, count = redis.call('GET', KEYS[1] .. 'search-changes') or '0', redis.call('ZCARD', blocksKey)
if ARGV[1] == '' then return { changes, count, redis.call('ZRANGE', blocksKey, 0, -1, 'WITHSCORES'), {} } end
local changed = {}
for _, block in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1] .. 'search-changed', '(' .. ARGV[1], '+inf')) do
  local first = redis.call('ZSCORE', blocksKey, block)
  if first then
    changed[#changed + 1] = block
    changed[#changed + 1] = first
  end
end
local ids = {}
if #changed == 0 then
  for at = 2, #ARGV do ids[at - 1] = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[at], ARGV[at])[1] or '' end
end
return { changes, count, changed, ids }
