--[[
  Claims the job of the pool that a server should run next, for the process that holds its lease. A server has one
  claimed job at most.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the server
  ARGV[2]  fence of the lease
  ARGV[3]  the server, JSON: loaded and default checkpoint, title of the default one, seconds to load one
  ARGV[4]  the dial, JSON: patience, patience for light shares and what they are, share, longest window
  ARGV[5]  `idle` if the server could begin at once, so that a job that arrives is given to it; or ''

  Answers { 'claimed', passed over, id, fields of the record } | { 'ready' } |
    { 'none', milliseconds until a job that rests can be claimed or -1 } |
    { 'unknown', class, needs, ... }: the process says for these classes what the server can run, and asks again |
    { 'lease_lost' }
]]
--- @include "includes/claim"
--- @include "includes/lease"
--- @include "includes/resting"
local serverId, fence, facts, dialText, idle = unpack(ARGV)
if not servesUnder(serverId, fence) then return { 'lease_lost' } end
if redis.call('ZCARD', queueKey(serverId)) > 0 then return { 'ready' } end
local dial = cjson.decode(dialText)
wakeRested(dial.patience)
local can, unknown = classesOf(serverId)
if #unknown > 0 then
  local answer = { 'unknown' }
  for i = 1, math.min(#unknown, 200) do
    table.insert(answer, unknown[i])
    table.insert(answer, redis.call('HGET', KEYS[1] .. 'classes', unknown[i]) or '')
  end
  return answer
end
local server = cjson.decode(facts)
server.id = serverId
redis.call('HSET', KEYS[1] .. 'own-checkpoints', serverId, server.default)
local claimed = claimFor(server, can, dial)
if claimed then
  return { 'claimed', claimed[2], claimed[1], redis.call('HGETALL', jobKey(claimed[1])) }
end
if idle ~= '' then
  server.fence = fence
  redis.call('HSET', KEYS[1] .. 'idle', serverId, cjson.encode(server))
end
return { 'none', nextRested() }
