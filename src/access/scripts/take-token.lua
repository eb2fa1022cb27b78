--[[
  Takes a token out of a bucket that holds a minute's requests and fills evenly. Unlike a fixed window it cannot be
  emptied twice around a boundary.

  KEYS[1]  bucket
  ARGV[1]  capacity
  ARGV[2]  time, in milliseconds, or '' for now

  Answers { 1 if the request is allowed, else 0, tokens left, as text }
]]
--- @include "../../redis/scripts/clock"
local capacity, moment = tonumber(ARGV[1]), tonumber(ARGV[2]) or milliseconds()
local known = redis.call('HMGET', KEYS[1], 'tokens', 'moment')
local tokens, before = tonumber(known[1] or capacity), tonumber(known[2] or moment)
-- After the clock went back the bucket fills on; never from further in the future than a full one takes.
moment = before - moment > 60000 and moment or math.max(moment, before)
before = math.min(moment, before)
tokens = math.min(capacity, tokens + (moment - before) * capacity / 60000)
-- Sums of fractions fall short of a whole by a hair, which must not cost a millisecond.
local allowed = tokens >= 1 - 1e-6
if allowed then tokens = math.max(0, tokens - 1) end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.9f', tokens), 'moment', string.format('%.0f', moment))
redis.call('PEXPIRE', KEYS[1], 61000)
return { allowed and 1 or 0, string.format('%.9f', tokens) }
