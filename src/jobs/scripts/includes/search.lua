--[[
  The search text: blocks of jobs that arrived one after the other. Equal prompts of a block are one entry.

  search              ZSET of the blocks, by the arrival of their first job
  search-state        HASH: `from`, the arrival from which all jobs are in blocks, 0 for all; `count`, jobs in blocks
  search:<b>          STRING of entries: prompt in lower case, NUL, code, NUL. A code has capital letters only, which no
                      search in lower case matches
  search:<b>:words    STRING of the words of a full block: most blocks without a match are skipped by it
  search:<b>:jobs     HASH of the codes: application, NUL, user, NUL, the ids as `,one,two,`; `n` jobs; `entries`
]]
--- @include "record"
local blocksKey, searchState = KEYS[1] .. 'search', KEYS[1] .. 'search-state'
-- Jobs and bytes of a block.
local mostJobs, mostBytes = 500, 131072

local function textKey (block) return KEYS[1] .. 'search:' .. block end
local function wordsKey (block) return KEYS[1] .. 'search:' .. block .. ':words' end
local function codesKey (block) return KEYS[1] .. 'search:' .. block .. ':jobs' end

-- What is searched of a job; the code stands for all of it.
local function entryOf (prompt, application, user)
  prompt = string.gsub(string.lower(prompt), '%z', ' ')
  local digest = redis.sha1hex(prompt .. '\0' .. application .. '\0' .. user)
  local code = string.gsub(string.upper(string.sub(digest, 1, 16)), '%d', function (digit)
    return string.char(71 + digit)
  end)
  return { prompt = prompt, application = application, user = user, code = code }
end

local function readEntry (id)
  local values = redis.call('HMGET', jobKey(id), 'prompt', 'submission')
  local isJson, submission = pcall(cjson.decode, values[2] or '')
  local isTable = isJson and type(submission) == 'table'
  local application, studio = isTable and submission.appType, isTable and submission.studio
  local user = type(studio) == 'table' and studio.user
  local function textOf (value) return type(value) == 'string' and value or '' end
  return entryOf(values[1] or '', textOf(application), textOf(user))
end

-- Writes down the words of a block that gets no further job, unless they are as long as its text.
local function sealBlock (block)
  local text, known, words = redis.call('GET', textKey(block)) or '', {}, {}
  for word in string.gmatch(text, '[^%s%p%z]+') do
    if not known[word] and not string.find(word, '^%u+$') then
      known[word] = true
      words[#words + 1] = word
    end
  end
  local list = table.concat(words, ' ')
  if #list < #text / 2 then redis.call('SET', wordsKey(block), list) end
end

local function enterBlock (block, id, entry)
  local ids = redis.call('HGET', codesKey(block), entry.code)
  if ids then
    redis.call('HSET', codesKey(block), entry.code, ids .. id .. ',')
  else
    redis.call('HSET', codesKey(block), entry.code, entry.application .. '\0' .. entry.user .. '\0,' .. id .. ',')
    redis.call('APPEND', textKey(block), entry.prompt .. '\0' .. entry.code .. '\0')
    redis.call('HINCRBY', codesKey(block), 'entries', 1)
  end
  redis.call('HINCRBY', codesKey(block), 'n', 1)
  redis.call('HINCRBY', searchState, 'count', 1)
end

local function isFull (block)
  return tonumber(redis.call('HGET', codesKey(block), 'n') or 0) >= mostJobs
    or redis.call('STRLEN', textKey(block)) >= mostBytes
end

-- Enters a job that has just arrived.
local function enterSearch (id, arrival, entry)
  local block = redis.call('ZREVRANGE', blocksKey, 0, 0)[1]
  if not block or isFull(block) then
    if block then sealBlock(block) end
    redis.call('HSETNX', searchState, 'from', arrival)
    redis.call('ZADD', blocksKey, arrival, arrival)
    block = arrival
  end
  enterBlock(block, id, entry)
end

-- Keeps only the entries that have jobs.
local function compactBlock (block)
  local kept, count = {}, 0
  for prompt, code in string.gmatch(redis.call('GET', textKey(block)) or '', '([^%z]*)%z(%u+)%z') do
    if redis.call('HEXISTS', codesKey(block), code) == 1 then
      count = count + 1
      kept[count] = prompt .. '\0' .. code .. '\0'
    end
  end
  redis.call('SET', textKey(block), table.concat(kept))
  redis.call('HSET', codesKey(block), 'entries', count)
end

-- The code of the entry that has a job, and its ids; nil if none has it.
local function findEntry (block, id)
  local code = readEntry(id).code
  local ids = redis.call('HGET', codesKey(block), code)
  if ids and string.find(ids, ',' .. id .. ',', 1, true) then return code, ids end
  local all = redis.call('HGETALL', codesKey(block))
  for i = 1, #all, 2 do
    if string.find(all[i + 1], ',' .. id .. ',', 1, true) then return all[i], all[i + 1] end
  end
  return nil
end

-- Takes out a job whose record still exists.
local function leaveSearch (id, arrival)
  local from = redis.call('HGET', searchState, 'from')
  if not from or tonumber(arrival) < tonumber(from) then return end
  local block = redis.call('ZREVRANGEBYSCORE', blocksKey, arrival, '-inf', 'LIMIT', 0, 1)[1]
  if not block then return end
  local code, ids = findEntry(block, id)
  if not code then return end
  redis.call('HINCRBY', searchState, 'count', -1)
  if redis.call('HINCRBY', codesKey(block), 'n', -1) == 0 then
    redis.call('UNLINK', textKey(block), wordsKey(block), codesKey(block))
    redis.call('ZREM', blocksKey, block)
    return
  end
  local first, last = string.find(ids, ',' .. id .. ',', 1, true)
  ids = string.sub(ids, 1, first) .. string.sub(ids, last + 1)
  if string.find(ids, '%z,$') then redis.call('HDEL', codesKey(block), code)
  else redis.call('HSET', codesKey(block), code, ids) end
  -- Two fields are no entries.
  local entries = tonumber(redis.call('HGET', codesKey(block), 'entries'))
  if (redis.call('HLEN', codesKey(block)) - 2) * 2 < entries then compactBlock(block) end
end
