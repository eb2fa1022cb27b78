--[[
  The search text: blocks of jobs that arrived one after the other.

  search            ZSET of the blocks, by the first arrival in them
  search-last       `<arrival of the last job>:<block to which the next one is appended, or ''>`
  search-from       arrival from which all jobs are in blocks; 0 for all
  search:<b>        STRING of entries: prompt in lower case, 0, application, 1, user, 2, `,id,id,`, 3
  search:<b>:words  STRING of a full block: its applications and users as 1, application, 2, user, 3; 0; its words. `*`
                    stands for a list that is too long. Most blocks without a match are skipped by it
]]
--- @include "record"
local blocksKey, fromKey, lastKey = KEYS[1] .. 'search', KEYS[1] .. 'search-from', KEYS[1] .. 'search-last'
local arrivalKey = KEYS[1] .. 'arrival'
-- Bytes of a full block.
local fullBlock = 131072

local function textKey (block) return KEYS[1] .. 'search:' .. block end
local function wordsKey (block) return KEYS[1] .. 'search:' .. block .. ':words' end

-- The signs between the parts of entries stand for nothing in prompts.
local function plain (text) return (string.gsub(text, '[%z\1-\3]', ' ')) end

local function entryOf (id, prompt, application, user)
  return plain(string.lower(prompt)) .. '\0' .. plain(application) .. '\1' .. plain(user) .. '\2,' .. id .. ',\3'
end

-- Calls `act` with the prompt, application, user and ids of each entry.
local function eachEntry (text, act)
  for prompt, application, user, ids in string.gmatch(text, '([^%z]*)%z([^\1]*)\1([^\2]*)\2([^\3]*)\3') do
    act(prompt, application, user, ids)
  end
end

-- A full block: equal prompts become one entry, and its words are listed.
local function sealBlock (block)
  local places, entries, facets, words = {}, {}, {}, {}
  eachEntry(redis.call('GET', textKey(block)) or '', function (prompt, application, user, ids)
    local facet = application .. '\1' .. user .. '\2'
    local entry = prompt .. '\0' .. facet
    local place = places[entry]
    if place then
      entries[place + 1] = entries[place + 1] .. string.sub(ids, 2)
      return
    end
    places[entry] = #entries + 1
    entries[#entries + 1] = entry
    entries[#entries + 1] = ids
    entries[#entries + 1] = '\3'
    if not facets[facet] then
      facets[facet] = true
      facets[#facets + 1] = '\1' .. application .. '\2' .. user .. '\3'
    end
    for word in string.gmatch(prompt, '[^%s%p]+') do
      if not words[word] then
        words[word] = true
        words[#words + 1] = word
      end
    end
  end)
  local text = table.concat(entries)
  local function listed (list) return #list * 3 < #text and list or '*' end
  redis.call('SET', textKey(block), text)
  redis.call('SET', wordsKey(block), listed(table.concat(facets)) .. '\0' .. listed(table.concat(words, ' ')))
end

-- The arrival of a new job, which orders all lists: microseconds, and never the same twice. The job enters the search
-- text in the same step.
local function arrive (id, created, prompt, application, user)
  local known = redis.call('MGET', arrivalKey, lastKey)
  local before, block = string.match(known[2] or '', '^(%d*):(.*)$')
  local arrival = string.format('%.0f', math.max(created * 1000, tonumber(known[1] or 0) + 1))
  -- A process of an earlier version has created jobs in between: those are not in the search text.
  if (known[1] or '') ~= (before or '') then
    redis.call('SET', fromKey, arrival)
    block = ''
  elseif not known[1] then
    redis.call('SET', fromKey, 0)
  end
  if not block or block == '' then
    block = arrival
    redis.call('ZADD', blocksKey, arrival, block)
  end
  if redis.call('APPEND', textKey(block), entryOf(id, prompt, application, user)) >= fullBlock then
    sealBlock(block)
    block = ''
  end
  redis.call('MSET', arrivalKey, arrival, lastKey, arrival .. ':' .. block)
  return arrival
end

-- Takes out a job. The block that is appended to stays, even if it is empty.
local function leaveSearch (id, arrival)
  local block = redis.call('ZREVRANGEBYSCORE', blocksKey, arrival, '-inf', 'LIMIT', 0, 1)[1]
  local text = block and redis.call('GET', textKey(block)) or ''
  local first, last = string.find(text, ',' .. id .. ',', 1, true)
  while first do
    local ends = string.find(text, '[%z\1-\3]', last)
    if string.byte(text, ends) == 3 then
      local isOnly = string.byte(text, first - 1) == 2 and ends == last + 1
      local start = isOnly and (string.match(string.sub(text, 1, first), '.*\3()') or 1) or first
      text = string.sub(text, 1, start - 1) .. string.sub(text, isOnly and ends + 1 or last)
      if text == '' and redis.call('EXISTS', wordsKey(block)) == 1 then
        redis.call('DEL', textKey(block), wordsKey(block))
        redis.call('ZREM', blocksKey, block)
      else
        redis.call('SET', textKey(block), text)
      end
      return
    end
    first, last = string.find(text, ',' .. id .. ',', last, true)
  end
end
