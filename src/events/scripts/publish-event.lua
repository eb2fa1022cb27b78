--[[
  Publishes an event of a server, or of all queues.

  KEYS[1]  common beginning of every key
  ARGV[1]  kind
  ARGV[2]  id of the server, or ''
  ARGV[3]  data, JSON
]]
--- @include "publish"
publish(ARGV[1], '', ARGV[2], '', '', cjson.decode(ARGV[3]))
