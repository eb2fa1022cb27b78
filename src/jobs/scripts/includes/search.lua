--[[
  The search text: blocks of jobs that arrived one after the other.

  search            ZSET of the blocks, by the first arrival in them
  search-last       `<arrival of the last job>:<block to which the next one is appended>:<digest of the last entry>`
  search-from       arrival from which all jobs are in blocks; 0 for all
  search:<b>        STRING of entries: 3, prompt in lower case, 0, application, 1, user, `2,id,id,`
  search:<b>:words  STRING of a sealed block: its applications and users as 1, application, 2, user, 3; 0; its words.
                    `*` stands for a list that is too long. Most blocks without a match are skipped by it
  search-words      STRING of the words of all sealed blocks, or `*` if there are too many
]]
--- @include "record"
--- @include "search-changes"
local blocksKey, fromKey, lastKey = KEYS[1] .. 'search', KEYS[1] .. 'search-from', KEYS[1] .. 'search-last'
local arrivalKey = KEYS[1] .. 'arrival'
-- Bytes of a full block.
local fullBlock = 131072

local function textKey (block) return KEYS[1] .. 'search:' .. block end
local function wordsKey (block) return KEYS[1] .. 'search:' .. block .. ':words' end

-- The signs between the parts of entries stand for nothing in prompts.
local function plain (text) return (string.gsub(text, '[%z\1-\3]', ' ')) end

-- An entry without its ids.
local function entryOf (prompt, application, user)
  return '\3' .. plain(string.lower(prompt)) .. '\0' .. plain(application) .. '\1' .. plain(user) .. '\2,'
end

-- Arrival, block and digest.
local function splitLast (last) return string.match(last or '', '^(%d*):(%d*):(%w*)$') end

-- What the job of this script that arrived last leaves in both keys.
local arrived
-- The arrival of a new job, which orders all lists: microseconds, and never the same twice. The job enters the search
-- text in the same step; jobs that follow each other with equal prompts share an entry. `keepArrived` ends the step.
local function arrive (id, created, prompt, application, user)
  local known = arrived or redis.call('MGET', arrivalKey, lastKey)
  local before, block, digest = splitLast(known[2])
  local arrival = string.format('%.0f', math.max(created * 1000, tonumber(known[1] or 0) + 1))
  if not known[1] then
    redis.call('SET', fromKey, 0)
  elseif known[1] ~= before then
    -- A process of an earlier version has created jobs in between: those are not in the search text.
    redis.call('SET', fromKey, arrival)
    block = ''
  end
  if not block or block == '' then
    block, digest = arrival, ''
    redis.call('ZADD', blocksKey, arrival, block)
  end
  noteBlock(block, arrival)
  local entry = entryOf(prompt, application, user)
  local own = redis.sha1hex(entry)
  if redis.call('APPEND', textKey(block), (own == digest and '' or entry) .. id .. ',') >= fullBlock then block = '' end
  arrived = { arrival, arrival .. ':' .. block .. ':' .. own }
  return arrival
end

-- Once after all jobs of the script.
local function keepArrived ()
  if arrived then redis.call('MSET', arrivalKey, arrived[1], lastKey, arrived[2]) end
end

-- Takes out a job; whether it was there.
local function leaveSearch (id, arrival)
  local block = redis.call('ZREVRANGEBYSCORE', blocksKey, arrival, '-inf', 'LIMIT', 0, 1)[1]
  local text = block and redis.call('GET', textKey(block)) or ''
  local first, last = string.find(text, ',' .. id .. ',', 1, true)
  -- A prompt can contain the same, but a sign other than that of the next entry follows it.
  while first do
    local ends = string.find(text, '[%z\1-\3]', last) or #text + 1
    if ends > #text or string.byte(text, ends) == 3 then break end
    first, last = string.find(text, ',' .. id .. ',', last, true)
  end
  if not first then return false end
  local isOnly = string.byte(text, first - 1) == 2 and (last == #text or string.byte(text, last + 1) == 3)
  if isOnly then
    text = string.sub(text, 1, string.match(string.sub(text, 1, first), '.*()\3') - 1) .. string.sub(text, last + 1)
  else
    text = string.sub(text, 1, first) .. string.sub(text, last + 1)
  end
  local before, open = splitLast(redis.call('GET', lastKey))
  -- The last entry is possibly another one now.
  if block == open then redis.call('SET', lastKey, before .. ':' .. open .. ':') end
  if text == '' and block ~= open then
    redis.call('DEL', textKey(block), wordsKey(block))
    redis.call('ZREM', blocksKey, block)
    redis.call('ZREM', KEYS[1] .. 'search-changed', block)
  else
    redis.call('SET', textKey(block), text)
    noteBlock(block)
  end
  return true
end

-- Enters a job that arrived before, with another prompt. Its block is searched as one that is not sealed.
local function enterSearch (id, arrival, prompt, application, user)
  local block = redis.call('ZREVRANGEBYSCORE', blocksKey, arrival, '-inf', 'LIMIT', 0, 1)[1]
  if not block then
    block = arrival
    redis.call('ZADD', blocksKey, arrival, block)
  end
  redis.call('APPEND', textKey(block), entryOf(prompt, application, user) .. id .. ',')
  redis.call('DEL', wordsKey(block))
  noteBlock(block)
  local before, open = splitLast(redis.call('GET', lastKey))
  if block == open then redis.call('SET', lastKey, before .. ':' .. open .. ':') end
end
