--[[
  Finds jobs by their prompt, application and user in some blocks of the search text. It stops after some of them, as
  all other work waits meanwhile.

  KEYS[1]     common beginning of every key
  KEYS[2]     index of the jobs among which to look
  KEYS[3]     index that they must be in as well; KEYS[2] if there is none
  KEYS[4]     index that they must not be in; KEYS[1] if there is none
  ARGV[1]     text in lower case that the prompt must contain, or ''
  ARGV[2]     application, or ''
  ARGV[3]     user of the interface for bots, or ''
  ARGV[4]     `arrivals` | `count`, which is of all jobs, whatever their index
  ARGV[5]     bytes to look through, about; a found job counts as some
  ARGV[6...]  blocks

  Answers for each block that it looked through, at least one, their number or `arrival,arrival,...` in any order
]]
--- @include "includes/search"
local text, application, user = ARGV[1], plain(ARGV[2]), plain(ARGV[3])
local isCount, left = ARGV[4] == 'count', tonumber(ARGV[5])
-- A command, and looking up the arrival of a job, take as long as so many bytes of text.
local bytesOfCall, bytesOfJob = 1000, 500
local words = {}
for word in string.gmatch(text, '[^%s%p]+') do words[#words + 1] = word end

-- Whether the list, which goes from there to the end of the text, has parts of all words.
local function hasWords (text, from)
  for _, word in ipairs(string.byte(text, from) == 42 and {} or words) do
    if not string.find(text, word, from, true) then return false end
  end
  return true
end
local isKnown = #words == 0 or hasWords(redis.call('GET', KEYS[1] .. 'search-words') or '', 1)
-- What the list of a block has of the application and user.
local facet = (application ~= '' and '\1' .. application or '') .. '\2' .. (user ~= '' and user .. '\3' or '')
if facet == '\2' then facet = '' end

local function canHave (block)
  local listed = redis.call('GET', wordsKey(block))
  if not listed then return true end
  left = left - #listed
  local ends = string.find(listed, '\0', 1, true)
  local hasFacet = facet == '' or string.byte(listed, 1) == 42 or
    string.find(string.sub(listed, 1, ends), facet, 1, true)
  return hasFacet and hasWords(listed, ends + 1)
end

-- Whether a word is in no sealed block, and this is one.
local function isHopeless (block)
  left = left - bytesOfCall
  return not isKnown and redis.call('EXISTS', wordsKey(block)) == 1
end

-- Calls with the ids of each matching entry, as `id,id,`.
local function eachMatch (block, act)
  if not canHave(block) then return end
  local entries = redis.call('GET', textKey(block)) or ''
  left = left - #entries
  local at, last = string.find(entries, text, 1, true)
  while at do
    local following = string.find(entries, '\3', last + 1, true) or #entries + 1
    local ends = string.find(entries, '\0', last + 1, true)
    if not ends then break end
    -- A match within the other parts of an entry is none.
    if ends < following then
      local list = string.find(entries, '\2', ends, true)
      local of = application == '' or string.sub(entries, ends + 1, ends + #application + 1) == application .. '\1'
      if of and (user == '' or string.sub(entries, list - #user - 1, list - 1) == '\1' .. user) then
        act(string.sub(entries, list + 2, following - 1))
      end
    end
    at, last = string.find(entries, text, following + 1, true)
  end
end

local function countIn (block)
  local count = 0
  if isHopeless(block) then return '0' end
  eachMatch(block, function (list)
    local _, commas = string.gsub(list, ',', '')
    count = count + commas
  end)
  return tostring(count)
end

-- unpack puts all values on Lua's stack, which has an end.
local atOnce = 1000
local function scoresIn (index, ids)
  local scores = {}
  for from = 1, #ids, atOnce do
    local some = redis.call('ZMSCORE', index, unpack(ids, from, math.min(#ids, from + atOnce - 1)))
    for at, score in ipairs(some) do scores[from + at - 1] = score end
  end
  left = left - bytesOfJob * #ids
  return scores
end

-- The matching jobs of a block that are in the index, and their arrivals.
local function candidatesIn (block)
  if isHopeless(block) then return {}, {} end
  local ids, isMatch, first = {}, {}, redis.call('ZSCORE', blocksKey, block)
  if not first then return {}, {} end
  left = left - 3 * bytesOfCall
  local following = redis.call('ZRANGEBYSCORE', blocksKey, '(' .. first, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
  local below = following and '(' .. following or '+inf'
  local size = redis.call('ZCOUNT', KEYS[2], first, below)
  if size == 0 then return {}, {} end
  local isAny = text == '' and application == '' and user == ''
  local function note (list)
    for id in string.gmatch(list, '[^,]+') do
      ids[#ids + 1] = id
      isMatch[id] = true
    end
  end
  if not isAny then eachMatch(block, note) end
  local found, arrivals = {}, {}
  local function take (id, arrival)
    found[#found + 1] = id
    arrivals[#arrivals + 1] = arrival
  end
  if isAny or size < #ids then
    left = left - bytesOfJob * size
    local members = redis.call('ZRANGEBYSCORE', KEYS[2], first, below, 'WITHSCORES')
    for at = 1, #members, 2 do
      if isAny or isMatch[members[at]] then take(members[at], members[at + 1]) end
    end
    return found, arrivals
  end
  local scores = scoresIn(KEYS[2], ids)
  for at, id in ipairs(ids) do
    if scores[at] then take(id, scores[at]) end
  end
  return found, arrivals
end

local function arrivalsIn (block)
  local ids, arrivals = candidatesIn(block)
  local within = KEYS[3] ~= KEYS[2] and scoresIn(KEYS[3], ids)
  local without = KEYS[4] ~= KEYS[1] and scoresIn(KEYS[4], ids)
  local found = {}
  for at, arrival in ipairs(arrivals) do
    if not (within and not within[at]) and not (without and without[at]) then found[#found + 1] = arrival end
  end
  return table.concat(found, ',')
end

local answer = {}
for at = 6, #ARGV do
  answer[#answer + 1] = isCount and countIn(ARGV[at]) or arrivalsIn(ARGV[at])
  if left <= 0 then break end
end
return answer
