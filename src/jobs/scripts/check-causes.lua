--[[
  Compares some jobs of an index with their records: failed ones enter the indexes of their error code, and an index of
  a code loses those that do not belong there. Processes of an earlier version keep no such indexes.

  KEYS[1]  common beginning of every key
  KEYS[2]  the index of all failed jobs, or one of a code
  ARGV[1]  arrival at which the call before ended, '-inf' at first
  ARGV[2]  how many jobs at most

  Answers the arrival at which it ended, or '' at the end
]]
--- @include "includes/causes"
local index, after, most = KEYS[2], ARGV[1], tonumber(ARGV[2])
local everyFailed = KEYS[1] .. 'jobs:*:*:failed'
local found = redis.call('ZRANGEBYSCORE', index, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #found, 2 do
  local id, own = found[i], { [everyFailed] = true }
  local record = readJob(id)
  if record and record.status == 'failed' then
    local failure = redis.call('HGET', jobKey(id), 'error')
    local code = codeOf(failure)
    if record.cause ~= record.server .. ':' .. code or not redis.call('ZSCORE', everyFailed .. ':' .. code, id) then
      enterCause(id, record, failure)
    end
    eachIndex(id, record.key, record.server, 'failed:' .. code, function (name) own[name] = true end)
  elseif record then
    leaveCause(id, record)
  end
  if not own[index] then redis.call('ZREM', index, id) end
end
local beginning = everyFailed .. ':'
if string.sub(index, 1, #beginning) == beginning then forgetUnused(string.sub(index, #beginning + 1)) end
return #found == most * 2 and found[#found] or ''
