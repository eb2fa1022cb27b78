import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { createGenerationQueues, entriesLua, entryId, type GenerationData } from '../../queues/generation-queue.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { loadScript, readLua } from '../../src/redis/scripts.ts'
import { silentLogger } from '../helper.ts'
import { startTestRedis } from '../redis.ts'

/** Entries that our scripts add and remove are compared with those of the installed BullMQ's own `add` and `remove`. */
const server = await startTestRedis()
const redis = new Redis(server.url, { maxRetriesPerRequest: null })
const folder = await mkdtemp(join(tmpdir(), 'sq-entries-'))
t.teardown(async () => {
  redis.disconnect()
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})
await writeFile(join(folder, 'change.lua'), `--[[
  KEYS[1]     common beginning of every key
  ARGV[1]     add or remove
  ARGV[2...]  arguments of the function
]]
--- @external "clock"
--- @external "queue-entries"
if ARGV[1] == 'add' then addEntry(unpack(ARGV, 2)) else removeEntry(unpack(ARGV, 2)) end
`)
const change = loadScript<[prefix: string], [what: 'add' | 'remove', ...args: Array<string | number>], null>(
  pathToFileURL(join(folder, 'change.lua')),
  { 'queue-entries': entriesLua, clock: readLua(new URL('../../src/redis/scripts/clock.lua', import.meta.url)) })

interface Entry {
  readonly id: string
  readonly priority?: number
  readonly delay?: number
}

/** One queue, and the ways to change it. */
interface Side {
  readonly queue: Queue<GenerationData>
  readonly worker: Worker<GenerationData>
  add (entry: Entry): Promise<void>
  remove (id: string): Promise<void>
}

const run = 3
const nameOf = (id: string) => entryId({ id, run })
let count = 0

async function openSide (t: Pick<Test, 'teardown'>, by: 'us' | 'bullmq'): Promise<Side> {
  const keys = createKeys(`${by}-${++count}`)
  const queues = createGenerationQueues({ connection: redis, keys, log: silentLogger })
  const queue = queues.queue('one')
  await queue.getVersion()
  const worker = new Worker<GenerationData>(queue.name, null, { connection: redis, prefix: keys.bullPrefix })
  t.teardown(async () => {
    await worker.close(true)
    await queues.close()
  })
  if (by === 'us') {
    return {
      queue,
      worker,
      async add ({ id, priority = 5, delay = 0 }) {
        await change(redis, [keys.key('')], ['add', queue.name, nameOf(id), id, run, priority, delay])
      },
      async remove (id) {
        await change(redis, [keys.key('')], ['remove', queue.name, nameOf(id)])
      }
    }
  }
  return {
    queue,
    worker,
    async add ({ id, priority = 5, delay = 0 }) {
      await queue.add('generate', { jobId: id, run }, {
        jobId: nameOf(id),
        priority,
        delay,
        attempts: 1,
        removeOnComplete: { age: 3600, count: 200 },
        removeOnFail: { age: 86_400, count: 200 }
      })
    },
    async remove (id) { await queue.remove(nameOf(id)) }
  }
}

/** Everything that Redis keeps of a queue, without times. */
async function stateOf ({ queue }: Side): Promise<Record<string, unknown>> {
  const beginning = queue.toKey('')
  const found: Record<string, unknown> = {}
  for (const key of (await redis.keys(`${beginning.replace(/[{}[\]]/g, '\\$&')}*`)).toSorted()) {
    found[key.slice(beginning.length)] = await valueOf(key)
  }
  return found
}

async function valueOf (key: string): Promise<unknown> {
  switch (await redis.type(key)) {
    case 'hash': return Object.fromEntries(Object.entries(await redis.hgetall(key)).toSorted().map(([name, value]) =>
      [name, ['opts', 'data'].includes(name) ? JSON.parse(value) : withoutTime(value)]))
    case 'zset': return (await redis.zrange(key, '0', '-1', 'WITHSCORES')).map(withoutTime)
    case 'list': return await redis.lrange(key, 0, -1)
    case 'stream': return (await redis.xrange(key, '-', '+')).map(([, values]) => values.map(withoutTime))
    default: return await redis.get(key)
  }
}

/** Only its hour is compared, of times and of scores that are times × 4096. */
function withoutTime (value: string): string {
  const number = Number(value)
  const milliseconds = number > 1e15 ? number / 4096 : number
  return milliseconds > 1.5e12 && milliseconds < 5e12 ? `in ${Math.round((milliseconds - Date.now()) / 3_600_000)} h` : value
}

type Step = (side: Side) => Promise<unknown>

const hour = 3_600_000
const add = (entry: Entry): Step => async side => { await side.add(entry) }
const remove = (id: string): Step => async side => { await side.remove(id) }
const pause: Step = async side => { await side.queue.pause() }
const fetchNext: Step = async side => { await side.worker.getNextJob('token') }
const complete: Step = async side => { await (await side.queue.getJob(nameOf('a')))?.moveToCompleted('done', 'token', false) }

const cases: ReadonlyArray<readonly [what: string, steps: readonly Step[]]> = [
  ['one entry', [add({ id: 'a' })]],
  ['entries of several priorities', [add({ id: 'a' }), add({ id: 'b', priority: 1 }), add({ id: 'c', priority: 2 ** 21 - 1 }),
    add({ id: 'd' })]],
  ['an entry that is added twice', [add({ id: 'a' }), add({ id: 'a', priority: 1 })]],
  ['an entry with a delay', [add({ id: 'a', delay: 5 * hour, priority: 7 })]],
  ['entries with several delays', [add({ id: 'a', delay: 5 * hour }), add({ id: 'b', delay: 2 * hour }), add({ id: 'b' })]],
  ['entries of a paused queue', [pause, add({ id: 'a' }), add({ id: 'b', delay: 2 * hour })]],
  ['entries of a queue that runs as many as it can', [
    async side => { await side.queue.setGlobalConcurrency(1) }, add({ id: 'a' }), fetchNext, add({ id: 'b' })
  ]],
  ['an entry of a job with an unusual id', [add({ id: 'a/"b\\_ü' })]],
  ['a removed entry', [add({ id: 'a' }), add({ id: 'b' }), remove('a')]],
  ['a removed entry with a delay', [add({ id: 'a', delay: 5 * hour }), remove('a')]],
  ['a removed entry of a paused queue', [pause, add({ id: 'a' }), remove('a')]],
  ['an entry that is added again', [add({ id: 'a' }), remove('a'), add({ id: 'a' })]],
  ['nothing to remove', [remove('a')]],
  ['an entry that a worker holds', [add({ id: 'a' }), fetchNext, remove('a'), add({ id: 'a' })]],
  ['an entry that a worker has run', [add({ id: 'a' }), fetchNext, complete, add({ id: 'a' })]],
  ['a removed entry that a worker has run', [add({ id: 'a' }), fetchNext, complete, remove('a')]]
]

for (const [what, steps] of cases) {
  t.test(`our scripts leave the same as BullMQ: ${what}`, async t => {
    const [ours, theirs] = [await openSide(t, 'us'), await openSide(t, 'bullmq')]
    for (const step of steps) {
      await step(theirs)
      await step(ours)
      t.same(await stateOf(ours), await stateOf(theirs))
    }
    t.ok(Object.keys(await stateOf(theirs)).length > 0)
  })
}

t.test('the queue of the pool shows its entries as BullMQ does, without what only workers need', async t => {
  const keys = createKeys('shown')
  const queues = createGenerationQueues({ connection: redis, keys, log: silentLogger })
  t.teardown(() => queues.close())
  const queue = queues.waiting()
  await queue.getVersion()
  const theirs = await openSide(t, 'bullmq')
  for (const [id, priority] of [['a', 5], ['b', 1]] as const) {
    await change(redis, [keys.key('')], ['add', queue.name, nameOf(id), id, run, priority, 0])
    await theirs.add({ id, priority })
  }
  const entriesOf = async ({ queue }: Pick<Side, 'queue'>) => await Promise.all((await queue.getPrioritized())
    .map(async ({ id }) => ({ id, fields: await valueOf(queue.toKey(id ?? '')) })))
  const shown = (await entriesOf(theirs)).map(({ id, fields }) => {
    const { attempts, priority } = (fields as { opts: Record<string, unknown> }).opts
    return { id, fields: { ...fields as object, opts: { attempts, priority } } }
  })
  t.same(await entriesOf({ queue }), shown)
  await change(redis, [keys.key('')], ['add', queue.name, nameOf('a'), 'a', run, 1, 0])
  await change(redis, [keys.key('')], ['remove', queue.name, nameOf('b')])
  t.same((await queue.getPrioritized()).map(({ id }) => id), [nameOf('a')])
  t.equal(await redis.exists(queue.toKey(nameOf('b')), queue.toKey('marker')), 0)
})

t.test('an entry of a queue that no process has opened keeps as many events as the queue does', async t => {
  const keys = createKeys('unopened')
  await change(redis, [keys.key('')], ['add', 'generation-one', 'a_1', 'a', 1, 5, 0])
  const side = await openSide(t, 'us')
  t.equal(await redis.hget(`${keys.bullPrefix}:generation-one:meta`, 'opts.maxLenEvents'),
    await redis.hget(side.queue.toKey('meta'), 'opts.maxLenEvents'))
})

t.test('a worker gets the job and the run of an entry, and one with a delay when that is over', async t => {
  const side = await openSide(t, 'us')
  await side.add({ id: 'late', delay: 1, priority: 1 })
  await side.add({ id: 'b' })
  const names: unknown[] = []
  const worker = new Worker<GenerationData>(side.queue.name, async ({ data }) => { names.push(data) },
    { connection: redis, prefix: side.queue.opts.prefix ?? '', autorun: false })
  const both = new Promise<void>(resolve => { worker.on('completed', () => { if (names.length === 2) resolve() }) })
  const ran = worker.run()
  await both
  await worker.close()
  await ran
  t.same(new Set(names.map(data => (data as GenerationData).jobId)), new Set(['late', 'b']))
  t.match(names, [{ run }, { run }])
})
