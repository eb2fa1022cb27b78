--[[
  Stores the state of a server, and publishes whether it became reachable or unreachable, if that changed. A state that
  differs only in the time of the check is stored once a minute: an idle server then costs no writes to the disk.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the server
  ARGV[2]  state, JSON
  ARGV[3]  data for listeners, JSON
]]
--- @include "../../events/scripts/publish"
local id, state, data = unpack(ARGV)
local stateKey = KEYS[1] .. 'server:' .. id .. ':state'
local before = redis.call('GET', stateKey)
local timestamp = '"checkedAt":(%d+)'
local minute = 60000
if before and before:gsub(timestamp, '') == state:gsub(timestamp, '') then
  local passed = tonumber(state:match(timestamp) or 0) - tonumber(before:match(timestamp) or 0)
  if passed >= 0 and passed < minute then return end
end
redis.call('SET', stateKey, state)
local reachable = cjson.decode(state).reachable
if before and cjson.decode(before).reachable == reachable then return end
publish(reachable == 'yes' and 'server-up' or 'server-down', '', id, '', '', cjson.decode(data))
