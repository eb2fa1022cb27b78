import type { Redis } from 'ioredis'
import type { JobView } from '../../../schemas/job.ts'
import { entriesLua } from '../../../queues/generation-queue.ts'
import type { Job } from '../../../src/jobs/job.ts'
import { createJobClaims } from '../../../src/jobs/claims.ts'
import { loadQueueScripts } from '../../../src/jobs/scripts/index.ts'
import { createKeys } from '../../../src/lib/keys.ts'
import { shortCheckpoint } from '../../../src/jobs/workload.ts'
import { fill } from '../../environment/fill.ts'
import { fillDial } from '../../environment/records-only.ts'
import { type Fleet, withFleet } from '../../environment/fleet.ts'
import { makeOrdinaryJob } from '../../environment/ordinary-job.ts'
import { until } from '../../environment/until.ts'
import { asRatio, inMilliseconds, median, now } from '../../statistics.ts'
import type { Row } from '../../table.ts'

export const about = 'cost of each step with 100,000 waiting jobs, beside the same with 100'

const few = 100
const some = 1000
const many = 100_000
/** A step may take so many times as long with many as with few. */
const most = 2
const times = 30
const moves = 5
const restarts = 3
/** A move is slow where each job before the other one moves too. */
const movedBefore = 1000
/** Claims that are made one after another. */
const claimsInRow = 200
/** Generations over which the scripts are timed. */
const generations = 60
/** SHA-1 of the script by which a server takes a job out of the pool. */
const claimScript = loadQueueScripts(entriesLua).claimJob.sha
/** Milliseconds in Redis of one claim. */
const claimGoals = new Map([[some, 0.2], [many, 1]])
const alias = 'Main'
const checkpoint = 'checkpoint-0.safetensors'

/** Milliseconds of scripts in Redis. */
interface ScriptTimes {
  readonly waiting: number
  /** Median of one claim, made one after another, and while servers run. */
  readonly claim: number
  readonly claimInUse: number
  /** All scripts, divided by the generations. */
  readonly perGeneration: number
}

/** The fleets, one with few and one with many waiting jobs, take turns: what disturbs the one disturbs the other. */
export async function measure (): Promise<Row[]> {
  const like = await makeSmallJob()
  return await withServer(async small => await withServer(async large => {
    await fillUp(small, like, few)
    await fillUp(large, like, some)
    const scripts = [await timeScripts(large, some)]
    await fillUp(large, like, many - some)
    scripts.push(await timeScripts(large, many))
    const rows = [
      row('submitting a job', await inTurn(times, [small, large].map(submitter))),
      row('cancelling one', await inTurn(times, await Promise.all([small, large].map(canceller)))),
      row('moving one', await inTurn(moves, await Promise.all([small, large].map(mover))))
    ]
    for (const fleet of [small, large]) {
      await fleet.resume([alias])
      await fleet.stop()
    }
    rows.push(row('restart to first generation', await inTurn(restarts, [small, large].map(restarter))))
    return [...rows, ...scripts.map(scriptRow)]
  }))
}

function row (step: string, [withFew = [], withMany = []]: ReadonlyArray<readonly number[]>): Row {
  return {
    figure: `fleet: ${step}, ${many.toLocaleString('en')} waiting`,
    measured: inMilliseconds(median(withMany)),
    limit: `${few} waiting ${inMilliseconds(median(withFew))}`,
    ratio: asRatio(median(withMany), median(withFew)),
    goal: `≤ ${most} times`,
    ok: median(withMany) <= most * median(withFew)
  }
}

/** Of 64 x 64 pixels, so that the picture takes no time. */
async function makeSmallJob (): Promise<Job> {
  const job = await makeOrdinaryJob()
  const parameters = { ...job.submission.parameters, width: 64, height: 64, steps: 4 }
  return { ...job, submission: { ...job.submission, parameters } }
}

/** A fleet of one server, which is paused. */
async function withServer<Outcome> (work: (fleet: Fleet) => Promise<Outcome>): Promise<Outcome> {
  const servers = [{ alias, speed: 1, checkpoints: [checkpoint] }]
  return await withFleet({ servers, times: { step: 20, load: 0 } }, async fleet => {
    await fleet.pause([alias])
    return await work(fleet)
  })
}

/** Resolves once Redis has written all of it to the disk, or that would slow the steps down. */
async function fillUp ({ environment: { redis }, caller }: Fleet, like: Job, count: number): Promise<void> {
  const { id } = await caller.get(`/api/v1/servers/${alias}`) as { id: string }
  await fill(redis, like, {
    count, serverIds: [id], keyIds: [null], endOf: () => 'pending', promptOf: () => ''
  }, entriesLua)
  await redis.set('filled', count)
  await until(async () => /aof_rewrite_in_progress:0\s+aof_rewrite_scheduled:0/.test(await redis.info('persistence')),
    'Redis has rewritten its file', 300_000)
}

/** Does one step and gives its milliseconds. */
type Timed = (index: number) => Promise<number>

/** The times of each, one after the other in every round. */
async function inTurn (rounds: number, steps: readonly Timed[]): Promise<number[][]> {
  const found: number[][] = steps.map(() => [])
  for (let round = 0; round < rounds; round++) {
    for (const [index, step] of steps.entries()) found[index]?.push(await step(round))
  }
  return found
}

function timed (work: (index: number) => Promise<unknown>): Timed {
  return async index => {
    const began = now()
    await work(index)
    return now() - began
  }
}

function submitter (fleet: Fleet): Timed {
  return timed(async () => await fleet.submit([{ steps: 4, checkpoint, server: alias }]))
}

async function canceller (fleet: Fleet): Promise<Timed> {
  const ids = await idsFrom(fleet, few / 2, times)
  return timed(async index => await fleet.caller.post(`/api/v2/jobs/${ids[index]}/cancel`))
}

async function mover (fleet: Fleet): Promise<Timed> {
  const waiting = await fleet.unfinished()
  const [other] = await idsFrom(fleet, Math.min(movedBefore, Math.floor(waiting / 2)), 1)
  const ids = await idsFrom(fleet, waiting - moves, moves)
  return timed(async index => await fleet.caller.patch(`/api/v2/jobs/${ids[index]}`, { before: other }))
}

/** From the start of the process to the begin of the first generation. */
function restarter (fleet: Fleet): Timed {
  return async () => {
    const started = Date.now()
    await fleet.launch()
    const begun = async () => (await fleet.ran()).find(({ began }) => began > started)?.began
    await until(async () => await begun() !== undefined, 'a generation has begun after the start', 300_000)
    const begin = await begun() ?? NaN
    await fleet.stop()
    return begin - started
  }
}

async function idsFrom ({ caller }: Fleet, offset: number, count: number): Promise<string[]> {
  const query = `status=pending&order=asc&offset=${offset}&limit=${count}`
  const { jobs } = await caller.get(`/api/v2/jobs?${query}`) as { jobs: JobView[] }
  return jobs.map(({ id }) => id)
}

/** Lets the server run some of the jobs, while Redis notes how long each script takes. */
async function timeScripts (fleet: Fleet, waiting: number): Promise<ScriptTimes> {
  const { environment: { redis } } = fleet
  await fleet.forget()
  await redis.config('SET', 'slowlog-max-len', 100_000)
  const stop = await timeCalls(redis)
  await claimInRow(fleet)
  const inRow = await stop()
  const stopAgain = await timeCalls(redis)
  await fleet.resume([alias])
  const ran = async () => (await fleet.ran()).length
  await until(async () => await ran() >= generations, 'some jobs have begun', 300_000)
  const calls = await stopAgain()
  const count = await ran()
  await fleet.pause([alias])
  await until(async () => (await fleet.ran()).every(({ ended }) => ended !== null), 'none runs any more')
  await fleet.forget()
  return {
    waiting,
    claim: claimOf(inRow),
    claimInUse: claimOf(calls),
    perGeneration: calls.reduce((sum, { ms }) => sum + ms, 0) / count
  }
}

const claimOf = (calls: readonly ScriptCall[]) =>
  median(calls.filter(({ sha }) => sha === claimScript).map(({ ms }) => ms))

interface ScriptCall { readonly sha: string | undefined, readonly ms: number }

/** Redis notes how long each script takes until the returned function is called. */
async function timeCalls (redis: Redis): Promise<() => Promise<ScriptCall[]>> {
  await redis.slowlog('RESET')
  await redis.config('SET', 'slowlog-log-slower-than', 0)
  return async () => {
    await redis.config('SET', 'slowlog-log-slower-than', -1)
    const entries = await redis.slowlog('GET', 100_000) as Array<[id: number, at: number, microseconds: number, words: string[]]>
    return entries.filter(([, , , [command]]) => command?.toLowerCase() === 'evalsha')
      .map(([, , microseconds, [, sha]]) => ({ sha, ms: microseconds / 1000 }))
  }
}

/** Claims jobs for the paused server, as the process that serves it does, and gives each back. */
async function claimInRow ({ environment: { redis }, caller }: Fleet): Promise<void> {
  const { id } = await caller.get(`/api/v1/servers/${alias}`) as { id: string }
  const keys = createKeys('sq')
  const claims = createJobClaims({ redis, keys, queueEntries: entriesLua, dial: fillDial })
  const fence = Number(await redis.get(keys.key('lease', id, 'fence')))
  const loaded = shortCheckpoint(checkpoint)
  for (let count = 0; count < claimsInRow; count++) {
    const facts = { id, loaded, default: loaded, title: checkpoint, loadSeconds: 1, speed: 1 }
    const answer = await claims.claim(facts, fence, false)
    if (answer.kind === 'unknown') {
      await claims.noteClasses(id, fence, new Map(answer.classes.map(one => [one.id, true])))
    } else if (answer.kind !== 'claimed') throw new Error(`no job was claimed: ${answer.kind}`)
    await claims.unclaim(id, { fence })
  }
}

function scriptRow ({ waiting, claim, claimInUse, perGeneration }: ScriptTimes): Row {
  const goal = claimGoals.get(waiting) ?? NaN
  const all = `all scripts of a generation ${inMilliseconds(perGeneration)}`
  return {
    figure: `fleet: one claim in Redis, ${waiting.toLocaleString('en')} waiting`,
    measured: `${inMilliseconds(claim)}, between other work ${inMilliseconds(claimInUse)}, ${all}`,
    limit: '',
    ratio: '',
    goal: `≤ ${goal} ms`,
    ok: claim <= goal
  }
}
