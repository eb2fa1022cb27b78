--[[
  Reads the stored events that follow an id. An id that is neither stored nor lies between stored ones means that events
  were lost, or that it is of another stream. So that the beginning has an id too, an empty stream gets an entry.

  KEYS[1]  common beginning of every key
  ARGV[1]  id, or 0 for the beginning
  ARGV[2]  most events, 0 to ask for the newest id only

  Answers { 1 where events were lost or else 0, id of the newest event, events }
]]
local stream, after, count = KEYS[1] .. 'events', ARGV[1], tonumber(ARGV[2])
local function parts (id)
  local moment, number = string.match(id, '^(%d+)-?(%d*)$')
  return tonumber(moment), tonumber(number) or 0
end
local function isBefore (one, other)
  local moment, number = parts(one)
  local otherMoment, otherNumber = parts(other)
  return moment < otherMoment or moment == otherMoment and number < otherNumber
end
local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
local head = newest and newest[1] or redis.call('XADD', stream, '*', 'kind', 'begun')
if count == 0 then return { 0, head, {} } end
local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1]
if after ~= '0' and (isBefore(after, oldest) or isBefore(head, after)) then return { 1, head, {} } end
return { 0, head, redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', count) }
