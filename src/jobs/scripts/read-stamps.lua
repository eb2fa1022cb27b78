--[[
  Reads what tells whether the text of a job is outdated. The arrival tells a job from a later one of the same id, and
  the time of the change covers a process of an earlier version, which does not raise the counter. What moves a waiting
  job in the queue does not raise it either.

  KEYS[1]     common beginning of every key
  ARGV[1...]  ids of jobs

  Answers { status, server, stamp, ... }; the status is '' if there is no such job
]]
--- @include "includes/record"
local answer = {}
for i = 1, #ARGV do
  local values = redis.call('HMGET', jobKey(ARGV[i]), 'status', 'server', 'arrival', 'changes', 'updated')
  answer[i * 3 - 2] = values[1] or ''
  answer[i * 3 - 1] = values[2] or ''
  local stamp = (values[3] or '') .. '.' .. (values[4] or '') .. '.' .. (values[5] or '')
  if values[1] == 'pending' then
    local wishes = redis.call('HMGET', jobKey(ARGV[i]), 'priority', 'target')
    stamp = stamp .. '.' .. (wishes[1] or '') .. '.' .. (wishes[2] or '')
  end
  answer[i * 3] = stamp
end
return answer
