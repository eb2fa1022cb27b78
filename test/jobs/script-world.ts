import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { entriesLua } from '../../queues/generation-queue.ts'
import { endJob, loadQueueScripts, noteClasses, readStamps, startJob } from '../../src/jobs/scripts/index.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { startTestRedis } from '../redis.ts'
import { atEnd } from '../support/at-end.ts'
import { findIndexProblems } from '../support/consistency.ts'
import { findEntryProblems, findPoolProblems } from '../support/pool-consistency.ts'

/**
 * Tables that test the scripts of jobs: a state and an input, the answer and the state after it. All files of a process
 * share one Redis, in worlds of their own.
 */
const server = await startTestRedis()
export const redis = new Redis(server.url)
export const listener = new Redis(server.url)
const close = async () => {
  redis.disconnect()
  listener.disconnect()
  await server.stop()
}
if (atEnd === undefined) t.teardown(close)
else atEnd.push(close)

export const scripts = loadQueueScripts(entriesLua)

export type ArgsOf<Of> = Of extends (redis: Redis, keys: never, args: Readonly<infer Args>) => unknown ? Args : never

export const id = 'job'
export const owner = 'worker'
export const fence = 7
const never = Number.MAX_SAFE_INTEGER
export const failure = JSON.stringify({ code: 'out_of_memory', message: 'no memory' })
export const result = JSON.stringify({ images: [{ name: 'a.png', sha256: '1' }, { name: 'b.png', sha256: '2' }] })
const submission = JSON.stringify({ appType: 'bot', studio: { user: 'ann' }, checkpointTitle: 'Deliberate v2', parameters: {} })
/** The class of jobs without a checkpoint, and that of the jobs of another one. */
export const ownClass = '-0'
export const otherClass = 'c0ffee00-1'
export const needsOf = (jobClass: string) => JSON.stringify({ of: jobClass })
export const dial = JSON.stringify({ patience: 3, lightPatience: 2, lightJobs: 1, share: 4, longest: 64 })
/** A server whose own checkpoint is loaded. */
export const facts = JSON.stringify({
  loaded: 'deadbeef', default: 'deadbeef', title: 'Own v1', loadSeconds: 10, speed: 1
})

export interface NewJob {
  readonly id?: string
  readonly target?: string
  readonly key?: string
  readonly bulk?: string
  readonly events?: string
  readonly last?: number
  readonly most?: number | ''
  readonly group?: string
  readonly size?: number
  readonly jobClass?: string
  readonly ms?: number
  readonly priority?: number
  readonly weight?: number
  readonly user?: string
  readonly lane?: '1' | ''
}

export interface GiveBack {
  readonly run?: number
  readonly owner?: string
  readonly jobClass?: string
  readonly disposition?: 'answers' | 'gone' | 'unsent' | 'stopped'
  readonly allowed?: number
  readonly fence?: number | ''
  readonly restMs?: number
}

export interface Claim {
  readonly server?: string
  readonly fence?: number
  readonly facts?: string
  readonly idle?: 'idle' | ''
}

/** The keys of one service; both servers can run both classes. */
async function openWorld (name: string) {
  const keys = createKeys(name)
  const prefix: [string] = [keys.key('')]
  await redis.set(keys.key('lease', 'one', 'fence'), fence)
  await redis.set(keys.key('lease', 'two', 'fence'), fence)
  await redis.set(keys.key('lease', 'one'), 'holder')
  await redis.set(keys.key('lease', 'two'), 'holder')
  for (const one of ['one', 'two']) await noteClasses(redis, prefix, [one, fence, ownClass, '1', otherClass, '1'])

  async function create (job: NewJob = {}) {
    const {
      id: name = id, target = '', key = 'k', bulk = '', events = '', last = never, most = '', group = name, size = 1,
      jobClass = ownClass, ms = 1000, priority = 5, weight = 1, user = '', lane = ''
    } = job
    const prompt = 'A Lighthouse <lora:Storm:1>'
    const [answer] = await scripts.createJob(redis, prefix, [name, target, key, priority, bulk, submission, prompt,
      events === '' ? '' : '{"url":"u"}', events, '[1]', last, most, group, size, jobClass, needsOf(jobClass), ms, weight,
      user, dial, 'bot', lane])
    return answer
  }

  /** As BullMQ's worker does, it takes the entry. */
  async function start (given: Partial<{ run: number, server: string, owner: string, fence: number }> = {}) {
    const { run = 1, server = 'one' } = given
    const answer = await startJob(redis, prefix, [id, run, server, given.owner ?? owner, given.fence ?? fence])
    if (answer[0] === 'started') {
      await redis.zrem(`${keys.bullPrefix}:generation-${server}:prioritized`, `${id}_${run}`)
    }
    return answer
  }

  return {
    keys,
    prefix,
    create,
    start,
    async claim ({ server = 'one', fence: lease = fence, facts: known = facts, idle = '' }: Claim = {}) {
      return await scripts.claimJob(redis, prefix, [server, lease, known, dial, idle])
    },
    async end (status: 'completed' | 'failed') {
      return await endJob(redis, prefix, status === 'completed'
        ? [id, 1, owner, 'completed', result, '', '', 'a.png', 'b.png']
        : [id, 1, owner, 'failed', '', failure, '[]'])
    },
    async giveBack (more: GiveBack = {}) {
      const given = {
        run: 1,
        owner,
        jobClass: ownClass,
        disposition: 'answers' as const,
        allowed: 3,
        fence: '' as const,
        restMs: 0,
        ...more
      }
      return await scripts.returnJob(redis, prefix, [id, given.run, given.owner, given.jobClass,
        needsOf(given.jobClass), 1, 1, '[{}]', given.disposition, given.allowed, failure, given.fence, given.restMs, dial])
    },
    async cancel (name = id) {
      return await scripts.cancelJob(redis, prefix, [name])
    }
  }
}
export type World = Awaited<ReturnType<typeof openWorld>>

const all = ',job.started,job.progress,job.completed,job.failed,job.cancelled,'

/** Ways of putting a job into a state. */
export const states = {
  none: async () => {},
  pending: async ({ create }: World) => { await create({ events: all }) },
  /** It needs server `two`. */
  targeted: async ({ create }: World) => { await create({ events: all, target: 'two' }) },
  /** Server `one` has claimed it. */
  claimed: async (world: World) => {
    await states.pending(world)
    await world.claim()
  },
  processing: async (world: World) => {
    await states.claimed(world)
    await world.start()
  },
  cancelling: async (world: World) => {
    await states.processing(world)
    await world.cancel()
  },
  completed: async (world: World) => {
    await states.processing(world)
    await world.end('completed')
  },
  failed: async (world: World) => {
    await states.processing(world)
    await world.end('failed')
  },
  cancelled: async (world: World) => {
    await states.pending(world)
    await world.cancel()
  },
  /** Pending again, as its second run. */
  returned: async (world: World) => {
    await states.processing(world)
    await world.giveBack()
  },
  /** Pending again, but no server can claim it for an hour. */
  resting: async (world: World) => {
    await states.processing(world)
    await world.giveBack({ restMs: 3_600_000 })
  },
  /** It failed because it was sent too often. */
  spent: async (world: World) => {
    await states.processing(world)
    await world.giveBack({ allowed: 1 })
  },
  /** It was cancelled while it ran. */
  stopped: async (world: World) => {
    await states.cancelling(world)
    await world.giveBack()
  }
}

export interface After {
  /** Fields of the record; null: it lacks the field. */
  readonly record?: Readonly<Record<string, string | null | RegExp>> | null
  /** Events that the script published, all of them. */
  readonly events?: readonly string[]
  /** Events that the script wrote for the webhook, all of them. */
  readonly webhook?: readonly string[]
  /** Jobs in the list of share `k`, or of others, in their order. */
  readonly pool?: readonly string[]
  readonly lists?: Readonly<Record<string, readonly string[]>>
  /** Start tags of the shares that have waiting jobs, and tags of the others. */
  readonly fair?: Readonly<Record<string, number>>
  readonly finish?: Readonly<Record<string, number>>
  /** The claimed jobs of server `one`. */
  readonly claimed?: readonly string[]
  readonly skips?: Readonly<Record<string, number>>
  readonly holds?: Readonly<Record<string, string>>
  readonly idle?: readonly string[]
  readonly outputs?: readonly string[]
}

export type Row = readonly [
  state: keyof typeof states, what: string, call: (world: World) => Promise<unknown>, answer: unknown, after?: After
]

/** Values of a hash as numbers. */
async function numbersOf (key: string): Promise<Record<string, number>> {
  return Object.fromEntries(Object.entries(await redis.hgetall(key)).map(([name, value]) => [name, Number(value)]))
}

async function tagsOf (key: string): Promise<Record<string, number>> {
  const list = await redis.zrange(key, '0', '-1', 'WITHSCORES')
  return Object.fromEntries(list.flatMap((name, at) => at % 2 === 0 ? [[name, Number(list[at + 1])]] : []))
}

/** What the pool holds, beside what every state must agree on. */
async function checkPool (t: Test, { keys }: World, after: After): Promise<void> {
  const lists = { ...after.lists, ...(after.pool === undefined ? {} : { k: after.pool }) }
  for (const [share, jobs] of Object.entries(lists)) {
    const members = await redis.zrange(keys.key('own', share), '0', '-1')
    t.same(members.map(member => member.split(':').at(-1)), jobs, `the list of ${share}`)
  }
  if (after.fair !== undefined) t.same(await tagsOf(keys.key('fair')), after.fair, 'tags of shares that wait')
  if (after.finish !== undefined) t.same(await numbersOf(keys.key('finish')), after.finish, 'tags of other shares')
  if (after.claimed !== undefined) t.same(await redis.zrange(keys.key('line', 'one'), '0', '-1'), after.claimed)
  if (after.skips !== undefined) t.same(await numbersOf(keys.key('skips')), after.skips, 'how often jobs were passed over')
  if (after.holds !== undefined) t.same(await redis.hgetall(keys.key('holds')), after.holds, 'loaded checkpoints')
  if (after.idle !== undefined) t.same((await redis.hkeys(keys.key('idle'))).toSorted(), after.idle, 'idle servers')
}

type Stamped = ReadonlyMap<string, { readonly record: string, readonly stamp: string }>

/** Every record with its stamp; the times, which hide a forgotten counter, are left out of the stamp. */
async function readStamped ({ keys, prefix }: World): Promise<Stamped> {
  const beginning = keys.key('job', '')
  const ids = (await redis.keys(`${beginning}*`)).map(name => name.slice(beginning.length))
    .filter(name => !name.includes(':')).toSorted()
  if (ids.length === 0) return new Map()
  const stamps = await readStamps(redis, prefix, ids)
  return new Map(await Promise.all(ids.map(async (name, at) => {
    const { changes: _, ...fields } = await redis.hgetall(keys.key('job', name))
    return [name, { record: JSON.stringify(Object.entries(fields).toSorted()), stamp: stamps[at * 3 + 2]?.replace(/\.\d*$/, '') ?? '' }] as const
  })))
}

/** Ids of records that changed without another stamp. */
function outdated (before: Stamped, after: Stamped): string[] {
  return [...after].filter(([name, { record, stamp }]) => {
    const known = before.get(name)
    return known !== undefined && known.record !== record && known.stamp === stamp
  }).map(([name]) => name)
}

let count = 0

/** A world of its own for a test that no table fits. */
export async function newWorld (): Promise<World> {
  return await openWorld(`scripts-${++count}`)
}

export async function check (t: Test, rows: readonly Row[]): Promise<void> {
  for (const [state, what, call, answer, after = {}] of rows) {
    await t.test(`${state}: ${what}`, async t => {
      const world = await newWorld()
      const { keys } = world
      await states[state](world)
      const events = await redis.xlen(keys.key('events'))
      const webhooks = await redis.xlen(keys.key('webhook-outbox'))
      const before = await redis.hgetall(keys.key('job', id))
      const stamped = await readStamped(world)
      const answered = await call(world)
      t.match(answered, answer, 'the answer')
      if (Array.isArray(answer)) t.equal((answered as unknown[]).length, answer.length)
      const record = await redis.hgetall(keys.key('job', id))
      if (after.record === null) t.same(record, {}, 'there is no record')
      else if (after.record === undefined) t.same(record, before, 'the record stays as it is')
      else {
        for (const [name, value] of Object.entries(after.record)) {
          if (value instanceof RegExp) t.match(record[name], value, name)
          else t.equal(record[name] ?? null, value, name)
        }
      }
      t.same(outdated(stamped, await readStamped(world)), [], 'each record that changed has another stamp')
      const traces = { look: redis, keys }
      t.same([...await findIndexProblems(traces), ...await findPoolProblems(traces)], [], 'records, indexes and pool agree')
      t.same(await findEntryProblems(traces), [], 'the queues of BullMQ hold what waits')
      t.same((await redis.xrange(keys.key('events'), '-', '+')).slice(events).map(([, values]) => values[1]), after.events ?? [])
      t.same((await redis.xrange(keys.key('webhook-outbox'), '-', '+')).slice(webhooks).map(([, values]) => values[1]),
        after.webhook ?? [])
      if (after.outputs !== undefined) t.same((await redis.hkeys(keys.key('outputs'))).toSorted(), after.outputs)
      await checkPool(t, world, after)
    })
  }
}
