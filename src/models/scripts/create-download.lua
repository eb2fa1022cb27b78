--[[
  Creates the record of a download.

  KEYS[1]  common beginning of every key
  ARGV[1]  id
  ARGV[2]  order, JSON
  ARGV[3]  time
]]
--- @include "publish-download"
local id, order, moment = unpack(ARGV)
redis.call('HSET', recordKey(id), 'order', order, 'status', 'pending', 'createdAt', moment)
redis.call('ZADD', KEYS[1] .. 'downloads', moment, id)
publishDownload(id)
