--[[
  Changes an access key. Of `dropIn`, preferences that are not named stay.

  KEYS[1]     record
  ARGV[1]     channel on which processes learn which key to forget
  ARGV[2...]  fields and values

  Answers 1, or 0 if there is no such key
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for index = 2, #ARGV, 2 do
  local field, value = ARGV[index], ARGV[index + 1]
  if field == 'dropIn' then
    local preferences = cjson.decode(redis.call('HGET', KEYS[1], field) or '{}')
    for name, preference in pairs(cjson.decode(value)) do preferences[name] = preference end
    if next(preferences) then redis.call('HSET', KEYS[1], field, cjson.encode(preferences)) end
  else
    redis.call('HSET', KEYS[1], field, value)
  end
end
redis.call('PUBLISH', ARGV[1], redis.call('HGET', KEYS[1], 'key'))
return 1
