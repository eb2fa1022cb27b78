--[[
  Notes that a draining server is empty, and publishes that, once for each time that it drains.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the server
  ARGV[2]  since when it drains
  ARGV[3]  data for listeners, JSON

  Answers 1 if this was new, or 0 if it is known or a job runs there
]]
--- @include "../../events/scripts/publish"
local id, since, data = unpack(ARGV)
local key = KEYS[1] .. 'server:' .. id .. ':drained'
if redis.call('GET', key) == since then return 0 end
if redis.call('ZCARD', KEYS[1] .. 'jobs:*:' .. id .. ':processing') > 0 then return 0 end
redis.call('SET', key, since)
publish('server-drained', '', id, '', '', cjson.decode(data))
return 1
