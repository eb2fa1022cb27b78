--[[
  Enters some jobs of an earlier version into the search text, newest first. Begins again if the blocks and the index of
  all jobs differ, as they do after a process of an earlier version has created or deleted jobs.

  KEYS[1]  common beginning of every key
  ARGV[1]  how many jobs at most
  ARGV[2]  `check` to compare first, else ''

  Answers 1 if jobs are left
]]
--- @include "includes/search"
local most, check = unpack(ARGV)
local index = KEYS[1] .. 'jobs:*:*:*'

local function agrees ()
  local blocks = redis.call('ZRANGE', blocksKey, 0, -1, 'WITHSCORES')
  for i = 1, #blocks, 2 do
    local next = blocks[i + 3] and '(' .. blocks[i + 3] or '+inf'
    if redis.call('ZCOUNT', index, blocks[i + 1], next) ~= tonumber(redis.call('HGET', codesKey(blocks[i]), 'n')) then
      return false
    end
  end
  local from = redis.call('HGET', searchState, 'from')
  local count = tonumber(redis.call('HGET', searchState, 'count') or 0)
  return redis.call('ZCOUNT', index, from or '+inf', '+inf') == count
end

if check ~= '' and not agrees() then
  for _, block in ipairs(redis.call('ZRANGE', blocksKey, 0, -1)) do
    redis.call('UNLINK', textKey(block), wordsKey(block), codesKey(block))
  end
  redis.call('DEL', blocksKey, searchState)
end
local from = redis.call('HGET', searchState, 'from')
if from == '0' then return 0 end
local found = redis.call('ZREVRANGEBYSCORE', index, from and '(' .. from or '+inf', '-inf', 'WITHSCORES',
  'LIMIT', 0, most)
for i = 1, #found, 2 do
  local id, arrival = found[i], string.format('%.0f', found[i + 1])
  local block = redis.call('ZRANGE', blocksKey, 0, 0)[1]
  if block and isFull(block) then
    if redis.call('EXISTS', wordsKey(block)) == 0 then sealBlock(block) end
    block = nil
  end
  block = block or arrival
  redis.call('ZADD', blocksKey, arrival, block)
  enterBlock(block, id, readEntry(id))
  redis.call('HSET', searchState, 'from', arrival)
end
if #found == most * 2 then return 1 end
redis.call('HSET', searchState, 'from', 0)
return 0
