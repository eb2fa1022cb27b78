--[[
  Finds those of some jobs that have images which match a search. It looks for a checkpoint in the request and in the
  server's answer, and for a LoRA in the prompt.

  KEYS[1]     common beginning of every key
  ARGV[1]     text in lower case that the prompt must contain, or ''
  ARGV[2]     part of a model's name in lower case, or ''
  ARGV[3...]  ids of jobs

  Answers the ids that match
]]
--- @include "includes/result"
local text, model = ARGV[1], ARGV[2]
local function has (where, part) return where and string.find(string.lower(where), part, 1, true) end
local found = {}
for i = 3, #ARGV do
  local job = redis.call('HMGET', jobKey(ARGV[i]), 'result', 'prompt', 'submission')
  local result, prompt, submission = job[1], job[2] or '', job[3] or ''
  local count, used = readResult(result)
  local fits = count > 0
  if fits and text ~= '' then fits = has(prompt, text) end
  if fits and model ~= '' then
    fits = has(string.match(submission, '"checkpointTitle":"(.-)"'), model)
      or has(used, model)
    if not fits then
      for lora in string.gmatch(prompt, '<lora:([^:>]+)') do fits = fits or has(lora, model) end
    end
  end
  if fits then found[#found + 1] = ARGV[i] end
end
return found
