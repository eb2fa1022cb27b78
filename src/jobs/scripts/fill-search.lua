--[[
  Enters some jobs of an earlier version into the search text, newest first.

  KEYS[1]  common beginning of every key
  ARGV[1]  how many jobs at most

  Answers 1 if jobs are left
]]
--- @include "includes/search"
local index, most = KEYS[1] .. 'jobs:*:*:*', tonumber(ARGV[1])
local from = redis.call('GET', fromKey)
-- The first call after an upgrade: all later jobs enter it when they are created.
redis.call('SETNX', lastKey, (redis.call('GET', arrivalKey) or '') .. '::')
local _, open = splitLast(redis.call('GET', lastKey))
if from == '0' then return 0 end
-- Blocks from before the gap.
local old = redis.call('ZRANGEBYSCORE', blocksKey, '-inf', '(' .. (from or '+inf'), 'LIMIT', 0, most)
for _, block in ipairs(old) do redis.call('UNLINK', textKey(block), wordsKey(block)) end
if #old > 0 then
  redis.call('ZREM', blocksKey, unpack(old))
  redis.call('ZREM', KEYS[1] .. 'search-changed', unpack(old))
  return 1
end

local function textOf (value) return type(value) == 'string' and value or '' end

local function readEntry (id)
  local values = redis.call('HMGET', jobKey(id), 'prompt', 'submission')
  local isJson, submission = pcall(cjson.decode, values[2] or '')
  local isTable = isJson and type(submission) == 'table'
  local studio = isTable and type(submission.studio) == 'table' and submission.studio or {}
  return entryOf(values[1] or '', textOf(isTable and submission.appType), textOf(studio.user))
end

local found = redis.call('ZREVRANGEBYSCORE', index, '(' .. (from or '+inf'), '-inf', 'WITHSCORES', 'LIMIT', 0, most)
local before
for i = 1, #found, 2 do
  local arrival, entry = string.format('%.0f', found[i + 1]), readEntry(found[i])
  local block = redis.call('ZRANGE', blocksKey, 0, 0)[1]
  local isClosed = not block or block == open or redis.call('EXISTS', wordsKey(block)) == 1
    or redis.call('STRLEN', textKey(block)) >= fullBlock
  if isClosed then block, before = arrival, nil end
  redis.call('ZADD', blocksKey, arrival, block)
  noteBlock(block)
  redis.call('APPEND', textKey(block), (entry == before and '' or entry) .. found[i] .. ',')
  redis.call('SET', fromKey, arrival)
  before = entry
end
if #found == most * 2 then return 1 end
redis.call('SET', fromKey, 0)
return 0
