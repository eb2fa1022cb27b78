import { forgetOutput } from './forget-output.ts'
import { prelude } from './prelude.ts'

/**
 * Every change of a job is one script, so that no two processes can both make it. Each checks the state that it
 * leaves; those of a running generation check run and owner too (fencing), so a late worker overwrites nothing.
 * A command whose answer was lost with its connection is sent again; the same claim gets the same answer then, which
 * is why an owner stays in the record after its run.
 *
 * All take KEYS[1] = key prefix and ARGV[1] = job id, and answer a list whose first element says what happened.
 */

/**
 * ARGV: id, server, key, priority, lane, bulk, submission, prompt, webhook JSON or '', its events as `,one,other,`,
 * workload, last moment, most waiting jobs of the key or '', group, its size. Answers created | exists | late, place in
 * line, moment, or full, waiting jobs. After the last moment nobody waits for the answer any more: the caller was told
 * that there is no job.
 */
const createJob = /* lua */ `
local id, server, key, priority, lane, bulk, submission, prompt, webhook, events, cost, last = unpack(ARGV)
local most, group, size = unpack(ARGV, 13)
if redis.call('EXISTS', jobKey(id)) == 1 then return { 'exists' } end
local created = now()
if created > tonumber(last) then return { 'late' } end
local waiting = waitingBeyond(key, most, group, tonumber(size))
if waiting then return { 'full', waiting } end
-- Arrival orders all lists: microseconds, and never the same twice.
local arrival = math.max(created * 1000, tonumber(redis.call('GET', KEYS[1] .. 'arrival') or 0) + 1)
redis.call('SET', KEYS[1] .. 'arrival', string.format('%.0f', arrival))
arrival = string.format('%.0f', arrival)
local spot = string.format('%.0f', place(lane))
redis.call('HSET', jobKey(id), 'status', 'pending', 'server', server, 'priority', priority, 'run', 1, 'lane', lane,
  'place', spot, 'arrival', arrival, 'created', created, 'updated', created, 'submission', submission, 'prompt', prompt,
  'cost', cost)
if key ~= '' then redis.call('HSET', jobKey(id), 'key', key) end
if webhook ~= '' then redis.call('HSET', jobKey(id), 'webhook', webhook, 'webhookEvents', events) end
if bulk ~= '' then
  redis.call('HSET', jobKey(id), 'bulk', bulk)
  redis.call('ZADD', KEYS[1] .. 'bulk:' .. bulk .. ':jobs', arrival, id)
end
redis.call('ZADD', lineKey(server), spot, id)
enterIndexes(id, arrival, key, server, 'pending')
local position = redis.call('ZRANK', lineKey(server), id) + 1
announce('accepted', id, server, key, 'pending', { position = position, priority = tonumber(priority) })
return { 'created', position, created }
`

/** ARGV: id, run, server, owner, fence of the lease. Answers started | gone | superseded | unattended. */
const startJob = /* lua */ `
local id, run, server, owner, fence = unpack(ARGV)
local job = read(id)
if not job then return { 'gone' } end
if job.status == 'processing' and job.run == run and job.owner == owner then return { 'started' } end
if job.status ~= 'pending' or job.run ~= run or job.server ~= server then return { 'superseded' } end
if not servesUnder(server, fence) then return { 'unattended' } end
local moment = now()
redis.call('HSET', jobKey(id), 'status', 'processing', 'owner', owner, 'started', moment, 'updated', moment)
redis.call('HDEL', jobKey(id), 'progress')
redis.call('HINCRBY', jobKey(id), 'starts', 1)
redis.call('HINCRBY', jobKey(id), 'sends', 1)
redis.call('ZREM', lineKey(server), id)
changeStatus(id, job.arrival, job.key, server, 'pending', 'processing')
announce('started', id, server, job.key, 'processing', { run = tonumber(run) })
tellReceiver('job.started', id)
return { 'started' }
`

/** ARGV: id, run, owner, progress JSON or '' where there is no news. Answers noted | cancel | superseded. */
const noteProgress = /* lua */ `
-- Receivers hear of a twentieth at least, and of one each second at most.
local function worthTelling (id, progress)
  local told = redis.call('HMGET', jobKey(id), 'webhookEvents', 'toldAt', 'toldFraction')
  if not told[1] then return false end
  local moment, fraction = now(), cjson.decode(progress).fraction
  local since = moment - tonumber(told[2] or 0)
  if since >= 0 and since < 1000 then return false end
  if math.abs(fraction - tonumber(told[3] or 0)) < 0.05 then return false end
  redis.call('HSET', jobKey(id), 'toldAt', moment, 'toldFraction', fraction)
  return true
end
local id, run, owner, progress = unpack(ARGV)
local job = read(id)
if not job or job.status ~= 'processing' or job.run ~= run or job.owner ~= owner then return { 'superseded' } end
if progress ~= '' then
  redis.call('HSET', jobKey(id), 'progress', progress)
  announceLive('progress', id, job.server, job.key, 'processing', cjson.decode(progress))
  if worthTelling(id, progress) then tellReceiver('job.progress', id) end
end
if redis.call('HEXISTS', jobKey(id), 'cancel') == 1 then return { 'cancel' } end
return { 'noted' }
`

const endFacts = /* lua */ `
-- What an end means to listeners: what went wrong, or which images there are.
local function endFacts (failure, names)
  if failure ~= '' then
    local told = cjson.decode(failure)
    return { code = told.code, message = string.sub(told.message, 1, 1000) }
  end
  return #names > 0 and { filenames = names } or nil
end
`

/**
 * ARGV: id, run, owner, end status, result JSON or '', error JSON or '', attempts JSON or '', then names of outputs.
 * Answers ended | superseded. A job that is to be cancelled ends cancelled whatever else was reported.
 */
const endJob = endFacts + /* lua */ `
local id, run, owner, status, result, failure, attempts = unpack(ARGV)
local job = read(id)
if not job or job.run ~= run or job.owner ~= owner then return { 'superseded' } end
if ended(job.status) then return { 'ended', job.status } end
if job.status ~= 'processing' then return { 'superseded' } end
if redis.call('HEXISTS', jobKey(id), 'cancel') == 1 then status = 'cancelled'; failure = '' end
local moment = now()
redis.call('HSET', jobKey(id), 'status', status, 'ended', moment, 'updated', moment)
redis.call('HDEL', jobKey(id), 'progress', 'place')
if result ~= '' then redis.call('HSET', jobKey(id), 'result', result) end
if failure ~= '' then redis.call('HSET', jobKey(id), 'error', failure) end
if attempts ~= '' then redis.call('HSET', jobKey(id), 'attempts', attempts) end
for i = 8, #ARGV do
  redis.call('HSET', KEYS[1] .. 'outputs', ARGV[i], id)
  announce('image', id, job.server, job.key, 'processing', { filename = ARGV[i] })
end
changeStatus(id, job.arrival, job.key, job.server, 'processing', status)
announce(status, id, job.server, job.key, status, endFacts(failure, { unpack(ARGV, 8) }))
tellReceiver('job.' .. status, id)
return { 'ended', status }
`

/**
 * ARGV: id, run, owner, lane, used attempts to add, crashes to add, attempts JSON or '', what became of the server:
 * answers | gone | unsent (it was certainly not sent) | stopped (by us, in order), allowed attempts, error JSON, fence
 * of the lease or ''. Puts a running job back in line, ahead of its class. One that was sent as often as it may be,
 * which is the allowed attempts and once more for each time that its server died, ends with that error instead,
 * whatever the way back was. Answers returned, new run | cancelled | spent | superseded | unattended.
 */
const returnJob = endFacts + /* lua */ `
local id, run, owner, lane, used, crashes, attempts, fate, allowed, failure, fence = unpack(ARGV)
local job = read(id)
if not job or job.owner ~= owner then return { 'superseded' } end
local following = string.format('%.0f', run + 1)
if job.status == 'pending' and job.run == following then return { 'returned', following } end
if job.run ~= run then return { 'superseded' } end
if job.status == 'cancelled' then return { 'cancelled' } end
if job.status == 'failed' then return { 'spent' } end
if job.status ~= 'processing' then return { 'superseded' } end
if fence ~= '' and not servesUnder(job.server, fence) then return { 'unattended' } end
local moment = now()
redis.call('HDEL', jobKey(id), 'progress')
redis.call('HSET', jobKey(id), 'updated', moment)
if attempts ~= '' then redis.call('HSET', jobKey(id), 'attempts', attempts) end
if redis.call('HEXISTS', jobKey(id), 'cancel') == 1 then
  redis.call('HSET', jobKey(id), 'status', 'cancelled', 'ended', moment)
  redis.call('HDEL', jobKey(id), 'place')
  changeStatus(id, job.arrival, job.key, job.server, 'processing', 'cancelled')
  announce('cancelled', id, job.server, job.key, 'cancelled')
  tellReceiver('job.cancelled', id)
  return { 'cancelled' }
end
redis.call('HINCRBY', jobKey(id), 'used', used)
redis.call('HINCRBY', jobKey(id), 'crashes', crashes)
if fate == 'gone' then redis.call('HINCRBY', jobKey(id), 'deaths', 1) end
if fate == 'unsent' or fate == 'stopped' then redis.call('HINCRBY', jobKey(id), 'sends', -1) end
local sent = redis.call('HMGET', jobKey(id), 'sends', 'deaths')
if tonumber(sent[1] or 0) - tonumber(sent[2] or 0) >= tonumber(allowed) then
  redis.call('HSET', jobKey(id), 'status', 'failed', 'ended', moment, 'error', failure)
  redis.call('HDEL', jobKey(id), 'place')
  changeStatus(id, job.arrival, job.key, job.server, 'processing', 'failed')
  announce('failed', id, job.server, job.key, 'failed', endFacts(failure, {}))
  tellReceiver('job.failed', id)
  return { 'spent' }
end
local spot = job.place
if lane ~= job.lane then spot = string.format('%.0f', place(lane)) end
redis.call('HSET', jobKey(id), 'status', 'pending', 'lane', lane, 'place', spot, 'run', following)
redis.call('ZADD', lineKey(job.server), spot, id)
expectEntry(job.server, id, following)
changeStatus(id, job.arrival, job.key, job.server, 'processing', 'pending')
announce('returned', id, job.server, job.key, 'pending',
  { position = redis.call('ZRANK', lineKey(job.server), id) + 1 })
return { 'returned', following }
`

/** ARGV: id. Answers cancelled, run, server | requested, run, server | ended, status | gone. */
const cancelJob = /* lua */ `
local id = ARGV[1]
local job = read(id)
if not job then return { 'gone' } end
if ended(job.status) then return { 'ended', job.status } end
local moment = now()
redis.call('HSETNX', jobKey(id), 'cancel', moment)
redis.call('HSET', jobKey(id), 'updated', moment)
if job.status == 'processing' then
  redis.call('PUBLISH', KEYS[1] .. 'channel:cancel', id)
  return { 'requested', job.run, job.server }
end
redis.call('HSET', jobKey(id), 'status', 'cancelled', 'ended', moment)
redis.call('HDEL', jobKey(id), 'place')
redis.call('ZREM', lineKey(job.server), id)
changeStatus(id, job.arrival, job.key, job.server, 'pending', 'cancelled')
announce('cancelled', id, job.server, job.key, 'cancelled')
tellReceiver('job.cancelled', id)
return { 'cancelled', job.run, job.server }
`

/**
 * ARGV: id, lane, most waiting jobs of its key or ''. A failed or cancelled job enters the line anew.
 * Answers entered, new run | active, status | full, waiting jobs | gone.
 */
const retryJob = /* lua */ `
local id, lane, most = unpack(ARGV)
local job = read(id)
if not job then return { 'gone' } end
if job.status ~= 'failed' and job.status ~= 'cancelled' then return { 'active', job.status } end
local waiting = waitingBeyond(job.key, most, id, 1)
if waiting then return { 'full', waiting } end
local moment = now()
local spot = string.format('%.0f', place(lane))
redis.call('HDEL', jobKey(id), 'ended', 'started', 'cancel', 'error', 'result', 'used', 'crashes', 'sends',
  'deaths', 'progress')
redis.call('HSET', jobKey(id), 'status', 'pending', 'run', job.run + 1, 'firstRun', job.run + 1, 'lane', lane, 'place', spot, 'updated', moment)
redis.call('ZADD', lineKey(job.server), spot, id)
expectEntry(job.server, id, job.run + 1)
changeStatus(id, job.arrival, job.key, job.server, job.status, 'pending')
local position = redis.call('ZRANK', lineKey(job.server), id) + 1
announce('accepted', id, job.server, job.key, 'pending', { position = position })
return { 'entered', job.run + 1, job.server, position }
`

/**
 * ARGV: id, server, lane or `first`, expected run or '', new priority or ''. Gives a waiting job another server,
 * another lane, or only a new run; `first` is a lane ahead of all that wait there.
 * Answers moved, new run, old run, old server, lane | there | not_pending, status | superseded | gone.
 */
const moveJob = /* lua */ `
local id, server, lane, expected, priority = unpack(ARGV)
local job = read(id)
if not job then return { 'gone' } end
if job.status ~= 'pending' then return { 'not_pending', job.status } end
if expected ~= '' and expected ~= job.run then return { 'superseded' } end
if lane == 'first' then
  local head = redis.call('ZRANGE', lineKey(server), 0, 0)[1]
  if head == id then return { 'there' } end
  local ahead = head and redis.call('HGET', jobKey(head), 'lane') or job.lane
  lane = string.format('%.0f', math.max(1, math.min(tonumber(ahead) - 1, tonumber(job.lane))))
end
if priority ~= '' then redis.call('HSET', jobKey(id), 'priority', priority) end
local spot = job.place
if lane ~= job.lane then spot = string.format('%.0f', place(lane)) end
redis.call('ZREM', lineKey(job.server), id)
redis.call('ZADD', lineKey(server), spot, id)
expectEntry(server, id, job.run + 1)
if server ~= job.server then
  leaveIndexes(id, job.key, job.server, 'pending')
  enterIndexes(id, job.arrival, job.key, server, 'pending')
end
redis.call('HSET', jobKey(id), 'server', server, 'lane', lane, 'place', spot, 'run', job.run + 1, 'updated', now())
announce('moved', id, server, job.key, 'pending',
  { position = redis.call('ZRANK', lineKey(server), id) + 1, from = job.server })
return { 'moved', job.run + 1, job.run, job.server, lane }
`

/** ARGV: id, then names of its outputs. Forgets an ended job. Answers removed | active, status | gone. */
const removeJob = /* lua */ `
local id = ARGV[1]
local job = read(id)
if not job then return { 'gone' } end
if not ended(job.status) then return { 'active', job.status } end
leaveIndexes(id, job.key, job.server, job.status)
if job.bulk ~= '' then redis.call('ZREM', KEYS[1] .. 'bulk:' .. job.bulk .. ':jobs', id) end
redis.call('DEL', jobKey(id))
for i = 2, #ARGV do redis.call('HDEL', KEYS[1] .. 'outputs', ARGV[i]) end
announce('removed', id, job.server, job.key, job.status)
return { 'removed' }
`

export const jobScripts = {
  createJob: prelude + createJob,
  startJob: prelude + startJob,
  noteProgress: prelude + noteProgress,
  endJob: prelude + endJob,
  returnJob: prelude + returnJob,
  cancelJob: prelude + cancelJob,
  retryJob: prelude + retryJob,
  moveJob: prelude + moveJob,
  removeJob: prelude + removeJob,
  forgetOutput: prelude + forgetOutput
} as const

export type JobScriptName = keyof typeof jobScripts
