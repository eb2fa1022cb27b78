--[[ The data that listeners get when a job finishes. ]]
-- The error, or the names of the images.
local function endData (failure, names)
  if failure ~= '' then
    local error = cjson.decode(failure)
    return { code = error.code, message = string.sub(error.message, 1, 1000) }
  end
  return #names > 0 and { filenames = names } or nil
end
