--[[
  Replaces the text of a full block by a shorter one of the same jobs, and lists its words, unless it has changed or
  jobs are appended to it.

  KEYS[1]  common beginning of every key
  ARGV[1]  block
  ARGV[2]  its text as it was read
  ARGV[3]  the shorter one
  ARGV[4]  its words

  Answers 1, or 0
]]
--- @include "includes/search"
local block, before, text, words = unpack(ARGV)
local _, open = splitLast(redis.call('GET', lastKey))
if block == open or redis.call('GET', textKey(block)) ~= before then return 0 end
redis.call('SET', textKey(block), text)
redis.call('SET', wordsKey(block), words)
return 1
