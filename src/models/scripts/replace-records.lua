--[[
  Replaces records of model files, except those that changed meanwhile.

  KEYS[1]     records by path
  KEYS[2]     version of the records
  ARGV[1...]  for each file its path, a part that its record must contain or '' where there must be none, the new record
]]
local written = 0
for index = 1, #ARGV, 3 do
  local present, expected = redis.call('HGET', KEYS[1], ARGV[index]), ARGV[index + 1]
  if (not present and expected == '') or (present and expected ~= '' and string.find(present, expected, 1, true)) then
    redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 2])
    written = written + 1
  end
end
if written > 0 then redis.call('INCR', KEYS[2]) end
