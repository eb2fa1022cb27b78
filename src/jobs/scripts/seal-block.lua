--[[
  Replaces the text of a full block by a shorter one of the same jobs, and lists its words, unless it has changed or
  jobs are appended to it.

  KEYS[1]  common beginning of every key
  ARGV[1]  block
  ARGV[2]  its text as it was read
  ARGV[3]  the shorter one
  ARGV[4]  its words
  ARGV[5]  those that are new among the words of all blocks, or '*' if there are too many

  Answers 1, or 0
]]
--- @include "includes/search"
local block, before, text, words, new = unpack(ARGV)
local _, open = splitLast(redis.call('GET', lastKey))
if block == open or redis.call('GET', textKey(block)) ~= before then return 0 end
redis.call('SET', textKey(block), text)
redis.call('SET', wordsKey(block), words)
local all = KEYS[1] .. 'search-words'
if new == '*' then
  redis.call('SET', all, new)
elseif redis.call('GETRANGE', all, 0, 0) ~= '*' then
  redis.call('APPEND', all, new)
end
return 1
