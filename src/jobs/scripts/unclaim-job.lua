--[[
  Gives a job that a server claimed and has not begun back to the pool, at its old position and next in line.

  KEYS[1]  common beginning of every key
  ARGV[1]  id of the server
  ARGV[2]  id of the job, or '' for every claimed one
  ARGV[3]  fence of the lease, or '' if no process serves the server
  ARGV[4]  class from now on, or '' for the same
  ARGV[5]  needs of that class, JSON, or ''
  ARGV[6]  milliseconds for which it rests
  ARGV[7]  the dial, JSON

  Answers the ids of the jobs
]]
--- @include "../../events/scripts/publish"
--- @include "includes/give-back"
--- @include "includes/offer"
local server, only, fence, class, needs, delay, dialText = unpack(ARGV)
if fence ~= '' and not servesUnder(server, fence) then return {} end
local dial = cjson.decode(dialText)
local ids = only ~= '' and { only } or redis.call('ZRANGE', queueKey(server), 0, 99)
local given = {}
redis.call('HDEL', KEYS[1] .. 'idle', server)
for _, id in ipairs(ids) do
  local record = readJob(id)
  if not record then
    redis.call('ZREM', queueKey(server), id)
    redis.call('ZREM', KEYS[1] .. 'claimed', id)
  -- One without a class is of an earlier version: `adopt-job` moves it.
  elseif record.status == 'pending' and record.server == server and redis.call('HEXISTS', jobKey(id), 'class') == 1 and
    redis.call('ZSCORE', queueKey(server), id) then
    local job = readPooled(id)
    takeFromServer(id, record, job)
    if class ~= '' then job.class, job.needs = class, needs end
    local due = tonumber(delay) > 0 and milliseconds() + tonumber(delay) or nil
    returnToOrder(id, record, job, dial.patience, due)
    table.insert(given, id)
    if not due then offer(job, dialText) end
  end
end
return given
