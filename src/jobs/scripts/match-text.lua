--[[
  Finds those of some jobs that match a search.

  KEYS[1]     common beginning of every key
  ARGV[1]     text in lower case that the prompt must contain, or ''
  ARGV[2]     application, or ''
  ARGV[3]     user of the interface for bots, or ''
  ARGV[4...]  ids of jobs

  Answers the ids that match
]]
--- @include "includes/record"
local text, application, user = ARGV[1], ARGV[2], ARGV[3]
local function submissionFits (job)
  if application == '' and user == '' then return true end
  local isJson, submission = pcall(cjson.decode, redis.call('HGET', job, 'submission'))
  if not isJson then return false end
  if application ~= '' and submission.appType ~= application then return false end
  return user == '' or (type(submission.studio) == 'table' and submission.studio.user == user)
end
local found = {}
for i = 4, #ARGV do
  local job = jobKey(ARGV[i])
  local fits = text == '' or string.find(string.lower(redis.call('HGET', job, 'prompt') or ''), text, 1, true)
  if fits and submissionFits(job) then found[#found + 1] = ARGV[i] end
end
return found
