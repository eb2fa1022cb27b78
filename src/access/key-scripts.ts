/**
 * Changes of access keys, one script each: none can bring back a key that was removed meanwhile, and every one
 * tells the other processes which key to forget. All answer 0 when there was nothing to change.
 */

/**
 * KEYS: record, list, index by public half.
 * ARGV: any | first, channel, id, created, public half, then fields and values.
 */
export const createKey = /* lua */ `
local when, channel, id, created, key = unpack(ARGV, 1, 5)
if when == 'first' and redis.call('ZCARD', KEYS[2]) > 0 then return 0 end
if redis.call('HSETNX', KEYS[3], key, id) == 0 then return 0 end
redis.call('ZADD', KEYS[2], created, id)
redis.call('HSET', KEYS[1], 'key', key, 'created', created, unpack(ARGV, 6))
redis.call('PUBLISH', channel, key)
return 1
`

/** KEYS: record. ARGV: channel, then fields and values. Of `dropIn`, preferences that are not named stay. */
export const updateKey = /* lua */ `
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
`

/** KEYS: record. ARGV: channel, new hash, moment until which the present one stays good, or 0. */
export const rotateKey = /* lua */ `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[3] == '0' then
  redis.call('HDEL', KEYS[1], 'previousHash', 'previousUntil')
else
  redis.call('HSET', KEYS[1], 'previousHash', redis.call('HGET', KEYS[1], 'hash'), 'previousUntil', ARGV[3])
end
redis.call('HSET', KEYS[1], 'hash', ARGV[2])
redis.call('PUBLISH', ARGV[1], redis.call('HGET', KEYS[1], 'key'))
return 1
`

/** KEYS: record, list, index by public half. ARGV: channel, id. */
export const removeKey = /* lua */ `
local key = redis.call('HGET', KEYS[1], 'key')
if not key then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('HDEL', KEYS[3], key)
redis.call('PUBLISH', ARGV[1], key)
return 1
`

/** KEYS: record. ARGV: uses since the last note, moment of the last one. */
export const noteUse = /* lua */ `
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], 'uses', ARGV[1])
if tonumber(ARGV[2]) > tonumber(redis.call('HGET', KEYS[1], 'lastUsed') or 0) then
  redis.call('HSET', KEYS[1], 'lastUsed', ARGV[2])
end
return 1
`

/** KEYS: record. ARGV: field, its value until now, its new value; nothing is written if it changed meanwhile. */
export const replaceHash = /* lua */ `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
`
