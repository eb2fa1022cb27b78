--[[
  Counts a failed login of an address. Ten failures in five minutes refuse the address for a minute, ten more for two,
  up to a quarter of an hour.

  KEYS[1]  record of the address
  ARGV[1]  time, in milliseconds, or '' for now

  Answers for how many more milliseconds the address is refused
]]
--- @include "../../redis/scripts/clock"
local moment = tonumber(ARGV[1]) or milliseconds()
local known = redis.call('HMGET', KEYS[1], 'failures', 'since', 'level', 'until')
local failures, since = tonumber(known[1] or 0), tonumber(known[2] or moment)
local level, till = tonumber(known[3] or 0), tonumber(known[4] or 0)
local refusal = math.min(900000, 60000 * 2 ^ (level - 1))
if till - moment > refusal then
  -- The clock went back.
  till = moment + refusal
  redis.call('HSET', KEYS[1], 'until', string.format('%.0f', till), 'since', string.format('%.0f', till))
end
if moment < till then return till - moment end
since = math.min(since, moment)
if moment - since >= 300000 then failures = 0; since = moment end
failures = failures + 1
if failures > 10 then
  level = level + 1
  till = moment + math.min(900000, 60000 * 2 ^ (level - 1))
  failures = 0
  since = till
end
redis.call('HSET', KEYS[1], 'failures', failures, 'since', string.format('%.0f', since),
  'level', level, 'until', string.format('%.0f', till))
redis.call('PEXPIRE', KEYS[1], 3600000)
return math.max(0, till - moment)
