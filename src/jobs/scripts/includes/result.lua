--[[
  What scripts read of a result, which is packed: see packResult. That of an earlier version is JSON.
]]
--- @include "record"
-- The number of its images, and the name of the checkpoint or nil.
local function readResult (result)
  local count, model = string.match(result or '', '^z1;(%d+);[^;]*;(.*)$')
  if count then return tonumber(count), model ~= '' and model or nil end
  local _, images = string.gsub(result or '', '"sha256":', '')
  return images, string.match(result or '', '"sd_model_name":"(.-)"')
end
