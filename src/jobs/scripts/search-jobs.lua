--[[
  Finds jobs by their prompt, application and user, in some blocks of the search text.

  KEYS[1]   common beginning of every key
  KEYS[2]   index of the jobs among which to look
  ARGV[1]   text in lower case that the prompt must contain, or ''
  ARGV[2]   application, or ''
  ARGV[3]   user of the interface for bots, or ''
  ARGV[4]   `newest` | `oldest` first
  ARGV[5]   lowest arrival, or '-inf'
  ARGV[6]   arrival before which all are, or '+inf'
  ARGV[7]   the block at which the call before ended, or ''
  ARGV[8]   how many of the found ones to skip
  ARGV[9]   how many of them to answer at most
  ARGV[10]  bytes to look through, about

  Answers { 'incomplete' } if the search text lacks jobs |
    { block at which to go on or '', how many were found, id, arrival, ... }
]]
--- @include "includes/search"
local text, application, user, order, lowest, highest, after, skip, take, budget = unpack(ARGV)
local index, everyJob = KEYS[2], KEYS[1] .. 'jobs:*:*:*'
if redis.call('GET', fromKey) ~= '0' and redis.call('EXISTS', everyJob) == 1 then return { 'incomplete' } end
skip, take, budget = tonumber(skip), tonumber(take), tonumber(budget)
application, user = plain(application), plain(user)
local isNewest = order == 'newest'
local isWhole = index == everyJob and lowest == '-inf' and highest == '+inf'
local least, most = tonumber(lowest) or -math.huge, tonumber(highest) or math.huge
local words = {}
for word in string.gmatch(text, '[^%s%p]+') do words[#words + 1] = word end

local function hasWords (list)
  for _, word in ipairs(list == '*' and {} or words) do
    if not string.find(list, word, 1, true) then return false end
  end
  return true
end
local isKnown = #words == 0 or hasWords(redis.call('GET', KEYS[1] .. 'search-words') or '')
-- What the list of a block has of the application and user.
local facet = (application ~= '' and '\1' .. application or '') .. '\2' .. (user ~= '' and user .. '\3' or '')
if facet == '\2' then facet = '' end

local function canHave (block)
  if not isKnown then return redis.call('EXISTS', wordsKey(block)) == 0 end
  local listed = redis.call('GET', wordsKey(block))
  if not listed then return true end
  budget = budget - #listed
  local facets, list = string.match(listed, '^([^%z]*)%z(.*)$')
  return (facets == '*' or string.find(facets, facet, 1, true)) and hasWords(list)
end

local function idsIn (block)
  local ids = {}
  if not canHave(block) then return ids end
  local entries = redis.call('GET', textKey(block)) or ''
  budget = budget - #entries
  local function enter (of, by, list)
    if (application == '' or of == application) and (user == '' or by == user) then
      for id in string.gmatch(list, '[^,]+') do ids[#ids + 1] = id end
    end
  end
  local parts = '([^\1]*)\1([^\2]*)\2([^\3]*)'
  if text == '' then
    for of, by, list in string.gmatch(entries, '%z' .. parts) do enter(of, by, list) end
    return ids
  end
  local at, last = string.find(entries, text, 1, true)
  while at do
    -- A match within the other parts of an entry is none.
    local ends = string.find(entries, '[%z\1-\3]', last + 1)
    if not ends then break end
    if string.byte(entries, ends) == 0 then
      local of, by, list, following = string.match(entries, '^' .. parts .. '()', ends + 1)
      enter(of, by, list)
      ends = following - 1
    end
    at, last = string.find(entries, text, ends + 1, true)
  end
  return ids
end

-- Those within index and bounds, in their order.
local function arrivedOf (ids)
  local arrivals, found = redis.call('ZMSCORE', index, unpack(ids)), {}
  for i, id in ipairs(ids) do
    local arrival = tonumber(arrivals[i] or nil)
    if arrival and arrival >= least and arrival < most then found[#found + 1] = { id = id, arrival = arrival } end
  end
  table.sort(found, function (one, other)
    if isNewest then return one.arrival > other.arrival end
    return one.arrival < other.arrival
  end)
  return found
end

local blocks
if isNewest then
  blocks = redis.call('ZREVRANGEBYSCORE', blocksKey, '(' .. (after ~= '' and after or highest), '-inf', 'WITHSCORES',
    'LIMIT', 0, 1000)
else
  local first = lowest ~= '-inf' and
    redis.call('ZREVRANGEBYSCORE', blocksKey, lowest, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local start = after ~= '' and '(' .. after or first and first[2] or '-inf'
  blocks = redis.call('ZRANGEBYSCORE', blocksKey, start, '(' .. highest, 'WITHSCORES', 'LIMIT', 0, 1000)
end
local answer, count, following = { '', 0 }, 0, #blocks == 2000 and blocks[2000] or ''
for i = 1, #blocks, 2 do
  local ids = idsIn(blocks[i])
  budget = budget - 100 * #ids
  if #ids > 0 and isWhole and (take == 0 or skip >= #ids) then
    count, skip = count + #ids, math.max(0, skip - #ids)
  elseif #ids > 0 then
    local found = arrivedOf(ids)
    count = count + #found
    for at = skip + 1, math.min(#found, skip + take) do
      answer[#answer + 1] = found[at].id
      answer[#answer + 1] = string.format('%.0f', found[at].arrival)
    end
    local taken = math.max(0, math.min(#found - skip, take))
    skip, take = math.max(0, skip - #found), take - taken
  end
  if isNewest and tonumber(blocks[i + 1]) <= least then
    following = ''
    break
  end
  if budget <= 0 and i + 2 <= #blocks then
    following = blocks[i + 1]
    break
  end
end
answer[1], answer[2] = following, count
return answer
