import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { entriesLua } from '../../queues/generation-queue.ts'
import {
  countImages, endJob, forgetOutput, loadQueueScripts, matchImages, matchText, noteProgress, readQueue, removeJob,
  startJob
} from '../../src/jobs/scripts/index.ts'
import { startTestRedis } from '../redis.ts'

/** Each script of the job record: a state and an input, the answer and the state after. */
const server = await startTestRedis()
t.teardown(server.stop)
const redis = new Redis(server.url)
const listener = new Redis(server.url)
t.teardown(() => {
  redis.disconnect()
  listener.disconnect()
})

const { createJob, cancelJob, returnJob, retryJob, moveJob } = loadQueueScripts(entriesLua)

type ArgsOf<Of> = Of extends (redis: Redis, keys: never, args: Readonly<infer Args>) => unknown ? Args : never
type CreateArgs = ArgsOf<typeof createJob>

const id = 'job'
const owner = 'worker'
const fence = 7
const never = Number.MAX_SAFE_INTEGER
const failure = JSON.stringify({ code: 'out_of_memory', message: 'no memory' })
const result = JSON.stringify({ images: [{ name: 'a.png', sha256: '1' }, { name: 'b.png', sha256: '2' }] })
const submission = JSON.stringify({ appType: 'bot', studio: { user: 'ann' }, checkpointTitle: 'Deliberate v2' })

interface NewJob {
  readonly id?: string
  readonly key?: string
  readonly bulk?: string
  readonly events?: string
  readonly last?: number
  readonly most?: number | ''
  readonly group?: string
  readonly size?: number
  readonly lane?: number
}

interface GiveBack {
  readonly run?: number
  readonly owner?: string
  readonly lane?: number
  readonly disposition?: 'answers' | 'gone' | 'unsent' | 'stopped'
  readonly allowed?: number
  readonly fence?: number | ''
  readonly delay?: number
}

/** One service's keys. */
function world (prefix: string) {
  const keys: [string] = [prefix]
  const create = async (job: NewJob = {}) => {
    const { id: name = id, key = 'k', bulk = '', events = '', last = never, most = '', group = name, size = 1, lane = 5 } = job
    const args: CreateArgs = [name, 'one', key, 5, lane, bulk, submission, 'A Lighthouse <lora:Storm:1>',
      events === '' ? '' : '{"url":"u"}', events, '[1]', last, most, group, size]
    return await createJob(redis, keys, args)
  }
  const start = async () => await startJob(redis, keys, [id, 1, 'one', owner, fence])
  const end = async (status: 'completed' | 'failed') => await endJob(redis, keys, status === 'completed'
    ? [id, 1, owner, 'completed', result, '', '', 'a.png', 'b.png']
    : [id, 1, owner, 'failed', '', failure, '[]'])
  const giveBack = async (more: GiveBack = {}) => {
    const given = { run: 1, owner, lane: 5, disposition: 'answers' as const, allowed: 3, fence: '' as const, ...more }
    return await returnJob(redis, keys, [id, given.run, given.owner, given.lane, 1, 1, '[{}]', given.disposition, given.allowed,
      failure, given.fence, given.delay ?? 0])
  }
  return { prefix, keys, create, start, end, giveBack }
}
type World = ReturnType<typeof world>

const all = ',job.started,job.progress,job.completed,job.failed,job.cancelled,'

/** Ways of putting a job into a state. */
const states = {
  none: async () => {},
  pending: async ({ create }: World) => { await create({ events: all }) },
  processing: async (world: World) => {
    await states.pending(world)
    await world.start()
  },
  cancelling: async (world: World) => {
    await states.processing(world)
    await cancelJob(redis, world.keys, [id])
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
    await cancelJob(redis, world.keys, [id])
  },
  /** Pending again, as its second run. */
  returned: async (world: World) => {
    await states.processing(world)
    await world.giveBack()
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

interface After {
  /** Fields of the record; null: it lacks the field. */
  readonly record?: Readonly<Record<string, string | null | RegExp>> | null
  /** Events that the script published, all of them. */
  readonly events?: readonly string[]
  /** Events that the script wrote for the webhook, all of them. */
  readonly webhook?: readonly string[]
  /** Jobs in the queue of server `one`, in their order. */
  readonly queue?: readonly string[]
  /** Names of the entries in BullMQ's queue of the job's server, in their order. No worker takes any here. */
  readonly entries?: readonly string[]
  /** Names of those that wait for a delay first. */
  readonly delayed?: readonly string[]
  readonly outputs?: readonly string[]
}

type Row = readonly [
  state: keyof typeof states, what: string, call: (world: World) => Promise<unknown>, answer: unknown, after?: After
]

/** Keys that hold an entry of the job: they must match its record. */
async function indexesOf (prefix: string, name: string): Promise<string[]> {
  const found: string[] = []
  for (const key of await redis.keys(`${prefix}jobs:*`)) if (await redis.zscore(key, name) !== null) found.push(key)
  return found.toSorted()
}

function indexesFor (prefix: string, { key = '', server = '', status = '' }: Readonly<Record<string, string>>): string[] {
  return (key === '' ? ['*'] : ['*', key]).flatMap(k => ['*', server].flatMap(s => ['*', status].map(state =>
    `${prefix}jobs:${k}:${s}:${state}`))).toSorted()
}

let count = 0
async function check (t: Test, rows: readonly Row[]): Promise<void> {
  for (const [state, what, call, answer, after = {}] of rows) {
    await t.test(`${state}: ${what}`, async t => {
      const here = world(`{scripts-${++count}}:`)
      const { prefix } = here
      await redis.set(`${prefix}lease:one:fence`, fence)
      await states[state](here)
      const events = await redis.xlen(`${prefix}events`)
      const webhooks = await redis.xlen(`${prefix}webhook-outbox`)
      const before = await redis.hgetall(`${prefix}job:${id}`)
      const answered = await call(here)
      t.match(answered, answer, 'the answer')
      if (Array.isArray(answer)) t.equal((answered as unknown[]).length, answer.length)
      const record = await redis.hgetall(`${prefix}job:${id}`)
      if (after.record === null) t.same(record, {}, 'there is no record')
      else if (after.record === undefined) t.same(record, before, 'the record stays as it is')
      else {
        for (const [name, value] of Object.entries(after.record)) {
          if (value instanceof RegExp) t.match(record[name], value, name)
          else t.equal(record[name] ?? null, value, name)
        }
      }
      const queue = await redis.zrange(`${prefix}line:one`, '0', '-1')
      if (after.queue !== undefined) t.same(queue, after.queue)
      else t.equal(queue.includes(id), record.status === 'pending' && record.server === 'one', 'the queue holds what is pending')
      t.same(await indexesOf(prefix, id), record.status === undefined ? [] : indexesFor(prefix, record), 'the indexes agree')
      t.same((await redis.xrange(`${prefix}events`, '-', '+')).slice(events).map(([, values]) => values[1]), after.events ?? [])
      t.same((await redis.xrange(`${prefix}webhook-outbox`, '-', '+')).slice(webhooks).map(([, values]) => values[1]),
        after.webhook ?? [])
      const [entries, delayed] = await Promise.all(['prioritized', 'delayed'].map(async state =>
        await redis.zrange(`${prefix}bull:generation-${record.server}:${state}`, '0', '-1')))
      if (record.status === 'pending') t.ok([entries, delayed].flat().includes(`${id}_${record.run}`), 'its run has an entry')
      if (after.entries !== undefined) t.same(entries, after.entries)
      t.same(delayed, after.delayed ?? [])
      if (after.outputs !== undefined) t.same((await redis.hkeys(`${prefix}outputs`)).toSorted(), after.outputs)
    })
  }
}

t.test('create-job', async t => {
  await check(t, [
    ['none', 'creates it', async ({ create }) => await create(), ['created', 1, Number], {
      record: { status: 'pending', run: '1', lane: '5', priority: '5', key: 'k', place: '5000000000001', webhook: null, bulk: null },
      events: ['accepted'],
      queue: [id]
    }],
    ['none', 'without a key', async ({ create }) => await create({ key: '' }), ['created', 1, Number],
      { record: { key: null }, events: ['accepted'] }],
    ['none', 'with a webhook and a bulk', async ({ create }) => await create({ events: ',job.failed,', bulk: 'b' }), ['created', 1, Number],
      { record: { webhook: '{"url":"u"}', webhookEvents: ',job.failed,', bulk: 'b' }, events: ['accepted'] }],
    ['none', 'too late', async ({ create }) => await create({ last: 1 }), ['late'], { record: null }],
    ['none', 'no job of the key may wait', async ({ create }) => await create({ most: 0 }), ['full', 0], { record: null }],
    ['none', 'the limit does not concern those without a key', async ({ create }) => await create({ most: 0, key: '' }),
      ['created', 1, Number], { record: { status: 'pending' }, events: ['accepted'] }],
    ['none', 'a group finds room for all or none', async ({ create }) => await create({ most: 2, size: 3 }), ['full', 0], { record: null }],
    ['pending', 'it exists', async ({ create }) => await create(), ['exists']],
    ['processing', 'it exists', async ({ create }) => await create(), ['exists']],
    ['completed', 'it exists', async ({ create }) => await create(), ['exists'], { queue: [] }],
    ['pending', 'another one, behind it', async ({ create }) => await create({ id: 'other' }), ['created', 2, Number],
      { events: ['accepted'], queue: [id, 'other'] }],
    ['pending', 'another one of an earlier lane', async ({ create }) => await create({ id: 'other', lane: 4 }), ['created', 1, Number],
      { events: ['accepted'], queue: ['other', id] }],
    ['pending', 'the limit is reached', async ({ create }) => await create({ id: 'other', most: 1 }), ['full', 1]],
    ['pending', 'the limit is that of another key', async ({ create }) => await create({ id: 'other', key: 'l', most: 1 }),
      ['created', 2, Number], { events: ['accepted'] }],
    ['none', 'a group keeps room for its others', async ({ create }) => [
      await create({ most: 2, group: 'g', size: 2 }), await create({ id: 'stranger', most: 2 }),
      await create({ id: 'second', most: 2, group: 'g', size: 2 }), await create({ id: 'third', most: 2 })
    ], [['created', 1], ['full', 2], ['created', 2], ['full', 2]],
    { record: { status: 'pending' }, queue: [id, 'second'], events: ['accepted', 'accepted'] }]
  ])
})

t.test('start-job', async t => {
  type Given = Partial<{ run: number, server: string, owner: string, fence: number }>
  const start = (given: Given = {}) => async ({ keys }: World) => await startJob(redis, keys,
    [id, given.run ?? 1, given.server ?? 'one', given.owner ?? owner, given.fence ?? fence])
  await check(t, [
    ['none', 'is gone', start(), ['gone'], { record: null }],
    ['pending', 'starts', start(), ['started'], {
      record: { status: 'processing', owner, starts: '1', sends: '1', started: /^\d+$/ }, events: ['started'], webhook: ['job.started']
    }],
    ['pending', 'another run', start({ run: 2 }), ['superseded']],
    ['pending', 'another server', start({ server: 'two' }), ['superseded']],
    ['pending', 'an earlier lease', start({ fence: 6 }), ['lease_lost']],
    ['processing', 'the same claim again', start(), ['started']],
    ['processing', 'another owner', start({ owner: 'other' }), ['superseded']],
    ['returned', 'the former run', start(), ['superseded']],
    ['returned', 'the new run', start({ run: 2 }), ['started'],
      { record: { status: 'processing', starts: '2', sends: '2' }, events: ['started'], webhook: ['job.started'] }],
    ['completed', 'the same claim again', start(), ['superseded']],
    ['cancelled', 'is cancelled', start(), ['superseded']]
  ])
})

t.test('note-progress', async t => {
  const note = (progress: string, given: Partial<{ run: number, owner: string }> = {}) => async ({ keys }: World) =>
    await noteProgress(redis, keys, [id, given.run ?? 1, given.owner ?? owner, progress])
  const half = '{"fraction":0.5}'
  await check(t, [
    ['none', 'is gone', note(half), ['superseded'], { record: null }],
    ['pending', 'does not run', note(half), ['superseded']],
    ['processing', 'keeps it', note(half), ['noted'], { record: { progress: half, toldFraction: '0.5' }, webhook: ['job.progress'] }],
    ['processing', 'too little for the webhook', note('{"fraction":0.04}'), ['noted'],
      { record: { progress: '{"fraction":0.04}', toldFraction: null } }],
    ['processing', 'too soon for the webhook', async world => [await note(half)(world), await note('{"fraction":0.9}')(world)],
      [['noted'], ['noted']], { record: { progress: '{"fraction":0.9}', toldFraction: '0.5' }, webhook: ['job.progress'] }],
    ['processing', 'no news', note(''), ['noted']],
    ['processing', 'another owner', note(half, { owner: 'other' }), ['superseded']],
    ['processing', 'another run', note(half, { run: 2 }), ['superseded']],
    ['cancelling', 'is to stop', note(''), ['cancel']],
    ['cancelling', 'is to stop, with news', note(half), ['cancel'], { record: { progress: half }, webhook: ['job.progress'] }],
    ['completed', 'has ended', note(half), ['superseded']]
  ])
  const here = world('{scripts-live}:')
  await redis.set(`${here.prefix}lease:one:fence`, fence)
  await states.processing(here)
  await listener.subscribe(`${here.prefix}channel:jobs`)
  const heard = new Promise(resolve => { listener.once('message', (_channel, text) => { resolve(JSON.parse(text)) }) })
  await note(half)(here)
  t.match(await heard, { kind: 'progress', job: id, server: 'one', key: 'k', status: 'processing', data: { fraction: 0.5 }, moment: Number })
})

t.test('end-job', async t => {
  const end = (status: 'completed' | 'failed' | 'cancelled', given: Partial<{ run: number, owner: string }> = {}) =>
    async ({ keys }: World) => await endJob(redis, keys, status === 'completed'
      ? [id, given.run ?? 1, given.owner ?? owner, status, result, '', '', 'a.png', 'b.png']
      : [id, given.run ?? 1, given.owner ?? owner, status, '', status === 'failed' ? failure : '', '[{}]'])
  await check(t, [
    ['none', 'is gone', end('completed'), ['superseded'], { record: null }],
    ['pending', 'does not run', end('completed'), ['superseded']],
    ['processing', 'completes', end('completed'), ['ended', 'completed'], {
      record: { status: 'completed', result, ended: /^\d+$/, place: null, progress: null, error: null },
      outputs: ['a.png', 'b.png'],
      events: ['image', 'image', 'completed'],
      webhook: ['job.completed']
    }],
    ['processing', 'fails', end('failed'), ['ended', 'failed'],
      { record: { status: 'failed', error: failure, attempts: '[{}]', result: null }, events: ['failed'], webhook: ['job.failed'] }],
    ['processing', 'is cancelled', end('cancelled'), ['ended', 'cancelled'],
      { record: { status: 'cancelled', error: null }, events: ['cancelled'], webhook: ['job.cancelled'] }],
    ['processing', 'another owner', end('completed', { owner: 'other' }), ['superseded']],
    ['processing', 'another run', end('completed', { run: 2 }), ['superseded']],
    ['cancelling', 'completes, but was to be cancelled', end('completed'), ['ended', 'cancelled'], {
      record: { status: 'cancelled', result },
      outputs: ['a.png', 'b.png'],
      events: ['image', 'image', 'cancelled'],
      webhook: ['job.cancelled']
    }],
    ['cancelling', 'fails, but was to be cancelled', end('failed'), ['ended', 'cancelled'],
      { record: { status: 'cancelled', error: null }, events: ['cancelled'], webhook: ['job.cancelled'] }],
    ['completed', 'the same claim again', end('completed'), ['ended', 'completed']],
    ['failed', 'another end of the same claim', end('completed'), ['ended', 'failed']],
    ['completed', 'another owner', end('completed', { owner: 'other' }), ['superseded']],
    ['returned', 'the former run', end('completed'), ['superseded']],
    ['returned', 'the new run, which has not started', end('completed', { run: 2 }), ['superseded']]
  ])
})

t.test('return-job', async t => {
  const giveBack = (given: GiveBack = {}) => async (world: World) => await world.giveBack(given)
  await check(t, [
    ['none', 'is gone', giveBack(), ['superseded'], { record: null }],
    ['pending', 'does not run', giveBack(), ['superseded']],
    ['processing', 'waits again, where it was', giveBack(), ['returned'], {
      record: {
        status: 'pending',
        run: '2',
        lane: '5',
        place: '5000000000001',
        used: '1',
        crashes: '1',
        sends: '1',
        deaths: null,
        attempts: '[{}]',
        owner
      },
      events: ['returned'],
      queue: [id],
      entries: [`${id}_1`, `${id}_2`]
    }],
    ['processing', 'after a delay', giveBack({ delay: 60_000 }), ['returned'],
      { record: { status: 'pending', run: '2' }, events: ['returned'], entries: [`${id}_1`], delayed: [`${id}_2`] }],
    ['processing', 'in another lane', giveBack({ lane: 4 }), ['returned'],
      { record: { lane: '4', place: '4000000000002' }, events: ['returned'] }],
    ['processing', 'its server died', giveBack({ disposition: 'gone', allowed: 1 }), ['returned'],
      { record: { deaths: '1', sends: '1', status: 'pending' }, events: ['returned'] }],
    ['processing', 'it was not sent', giveBack({ disposition: 'unsent', allowed: 1 }), ['returned'],
      { record: { sends: '0', status: 'pending' }, events: ['returned'] }],
    ['processing', 'it was stopped in order', giveBack({ disposition: 'stopped', allowed: 1 }), ['returned'],
      { record: { sends: '0', status: 'pending' }, events: ['returned'] }],
    ['processing', 'it was sent as often as allowed', giveBack({ allowed: 1 }), ['spent'], {
      record: { status: 'failed', error: failure, place: null, run: '1' }, events: ['failed'], webhook: ['job.failed'], entries: [`${id}_1`]
    }],
    ['processing', 'another owner', giveBack({ owner: 'other' }), ['superseded']],
    ['processing', 'another run', giveBack({ run: 2 }), ['superseded']],
    ['processing', 'by the holder of the lease', giveBack({ fence }), ['returned'],
      { record: { status: 'pending' }, events: ['returned'] }],
    ['processing', 'by a former holder of the lease', giveBack({ fence: 6 }), ['lease_lost']],
    ['cancelling', 'is cancelled', giveBack(), ['cancelled'],
      { record: { status: 'cancelled', place: null }, events: ['cancelled'], webhook: ['job.cancelled'] }],
    ['returned', 'the same claim again', giveBack(), ['returned']],
    ['spent', 'the same claim again', giveBack({ allowed: 1 }), ['spent']],
    ['stopped', 'the same claim again', giveBack(), ['cancelled']],
    ['completed', 'has ended', giveBack(), ['superseded']]
  ])
})

t.test('cancel-job', async t => {
  const cancel = async ({ keys }: World) => await cancelJob(redis, keys, [id])
  await check(t, [
    ['none', 'is gone', cancel, ['gone'], { record: null }],
    ['pending', 'ends', cancel, ['cancelled'],
      { record: { status: 'cancelled', cancel: /^\d+$/, ended: /^\d+$/, place: null }, events: ['cancelled'], webhook: ['job.cancelled'], entries: [] }],
    ['returned', 'ends, as its second run', cancel, ['cancelled'],
      { record: { status: 'cancelled' }, events: ['cancelled'], webhook: ['job.cancelled'] }],
    ['processing', 'is asked to stop', cancel, ['requested'], { record: { status: 'processing', cancel: /^\d+$/ } }],
    ['cancelling', 'again', cancel, ['requested'], { record: { status: 'processing' } }],
    ['completed', 'has ended', cancel, ['ended', 'completed']],
    ['cancelled', 'has ended', cancel, ['ended', 'cancelled']]
  ])
  const here = world('{scripts-cancel}:')
  await redis.set(`${here.prefix}lease:one:fence`, fence)
  await states.processing(here)
  await listener.subscribe(`${here.prefix}channel:cancel`)
  const heard = new Promise(resolve => { listener.once('message', (_channel, text) => { resolve(text) }) })
  await cancel(here)
  t.equal(await heard, id, 'the process that runs it hears of it')
})

t.test('retry-job', async t => {
  const retry = (most: number | '' = '') => async ({ keys }: World) => await retryJob(redis, keys, [id, 3, most])
  const cleared = {
    error: null,
    result: null,
    cancel: null,
    ended: null,
    started: null,
    used: null,
    crashes: null,
    sends: null,
    deaths: null,
    progress: null
  }
  await check(t, [
    ['none', 'is gone', retry(), ['gone'], { record: null }],
    ['pending', 'waits', retry(), ['active', 'pending']],
    ['processing', 'runs', retry(), ['active', 'processing']],
    ['completed', 'is done', retry(), ['active', 'completed']],
    ['failed', 'waits again', retry(), ['entered'], {
      record: { status: 'pending', run: '2', firstRun: '2', lane: '3', ...cleared }, events: ['accepted'], entries: [`${id}_2`, `${id}_1`], queue: [id]
    }],
    ['cancelled', 'waits again', retry(), ['entered'],
      { record: { status: 'pending', run: '2', ...cleared }, events: ['accepted'], entries: [`${id}_2`] }],
    ['spent', 'waits again', retry(), ['entered'], { record: { status: 'pending', ...cleared }, events: ['accepted'] }],
    ['failed', 'its key has too many waiting', retry(0), ['full', 0]],
    ['failed', 'its key has room', retry(1), ['entered'], { record: { status: 'pending' }, events: ['accepted'] }]
  ])
})

t.test('move-job', async t => {
  type Given = Partial<{ server: string, lane: number | 'first', run: number | '', priority: number | '' }>
  const move = (given: Given = {}) => async ({ keys }: World) => await moveJob(redis, keys,
    [id, given.server ?? 'one', given.lane ?? 5, given.run ?? '', given.priority ?? ''])
  const behind = (lane: number, given: Given = {}) => async (world: World) => {
    await world.create({ id: 'other', lane })
    return await move(given)(world)
  }
  await check(t, [
    ['none', 'is gone', move(), ['gone'], { record: null }],
    ['pending', 'only a new run', move(), ['moved'],
      { record: { run: '2', place: '5000000000001' }, events: ['moved'], entries: [`${id}_2`], queue: [id] }],
    ['pending', 'another lane and priority', move({ lane: 7, priority: 3 }), ['moved'],
      { record: { lane: '7', priority: '3', place: '7000000000002' }, events: ['moved'] }],
    ['pending', 'another server', move({ server: 'two' }), ['moved'],
      { record: { server: 'two', run: '2' }, events: ['moved'], entries: [`${id}_2`], queue: [] }],
    ['pending', 'the run that waits', move({ run: 1 }), ['moved'], { record: { run: '2' }, events: ['moved'] }],
    ['pending', 'another run', move({ run: 2 }), ['superseded']],
    ['pending', 'to the front, where it is', move({ lane: 'first' }), ['there']],
    ['pending', 'to the front, past another', behind(4, { lane: 'first' }), ['moved'],
      { record: { lane: '3' }, events: ['accepted', 'moved'], queue: [id, 'other'] }],
    ['pending', 'to the front, past one of the first lane', behind(1, { lane: 'first' }), ['moved'],
      { record: { lane: '1' }, events: ['accepted', 'moved'] }],
    ['pending', 'to the front of an empty queue', move({ server: 'two', lane: 'first' }), ['moved'],
      { record: { server: 'two', lane: '4' }, events: ['moved'] }],
    ['processing', 'runs', move({ server: 'two' }), ['not_pending', 'processing']],
    ['completed', 'has ended', move(), ['not_pending', 'completed']]
  ])
})

t.test('remove-job', async t => {
  const remove = async ({ keys }: World) => await removeJob(redis, keys, [id, 'a.png', 'b.png'])
  await check(t, [
    ['none', 'is gone', remove, ['gone'], { record: null }],
    ['pending', 'waits', remove, ['active', 'pending']],
    ['processing', 'runs', remove, ['active', 'processing']],
    ['cancelling', 'runs', remove, ['active', 'processing']],
    ['completed', 'goes with its outputs', remove, ['removed'], { record: null, events: ['removed'], outputs: [] }],
    ['failed', 'goes', remove, ['removed'], { record: null, events: ['removed'] }],
    ['cancelled', 'goes', remove, ['removed'], { record: null, events: ['removed'] }]
  ])
})

t.test('forget-output', async t => {
  const less = JSON.stringify({ images: [{ name: 'b.png', sha256: '2' }] })
  const forget = (before: string) => async ({ keys }: World) => await forgetOutput(redis, keys, [id, before, less, 'a.png'])
  await check(t, [
    ['none', 'is gone', forget(result), ['gone'], { record: null }],
    ['completed', 'goes', forget(result), ['forgotten'], { record: { result: less }, events: ['image-removed'], outputs: ['b.png'] }],
    ['completed', 'the result is another by now', forget(less), ['changed'], { outputs: ['a.png', 'b.png'] }]
  ])
})

t.test('the scripts that read', async t => {
  const text = (...args: [text: string, application: string, user: string]) => async ({ keys }: World) =>
    await matchText(redis, keys, [...args, id, 'other'])
  const images = (...args: [text: string, model: string]) => async ({ keys }: World) =>
    await matchImages(redis, keys, [...args, id, 'other'])
  await check(t, [
    ['pending', 'match-text: prompt', text('lighthouse', '', ''), [id]],
    ['pending', 'match-text: another prompt', text('castle', '', ''), []],
    ['pending', 'match-text: application and user', text('', 'bot', 'ann'), [id]],
    ['pending', 'match-text: another application', text('', 'web', ''), []],
    ['pending', 'match-text: another user', text('', '', 'bob'), []],
    ['pending', 'match-images: no images yet', images('', ''), []],
    ['completed', 'match-images: prompt', images('lighthouse', ''), [id]],
    ['completed', 'match-images: another prompt', images('castle', ''), []],
    ['completed', 'match-images: checkpoint', images('', 'deliberate'), [id]],
    ['completed', 'match-images: LoRA', images('', 'storm'), [id]],
    ['completed', 'match-images: another model', images('', 'anything'), []],
    ['completed', 'count-images', async ({ keys }) => await countImages(redis, keys, [id, 'other']), 2],
    ['pending', 'count-images: none yet', async ({ keys }) => await countImages(redis, keys, [id]), 0],
    ['none', 'read-queue: nothing', async ({ keys }) => await readQueue(redis, keys, ['one', 10]), ['', 0, [], []], { record: null }],
    ['pending', 'read-queue: waiting', async ({ keys }) => await readQueue(redis, keys, ['one', 10]),
      ['', 1, [], [[id, 'k', '[1]', '', '']]]],
    ['pending', 'read-queue: only its length', async ({ keys }) => await readQueue(redis, keys, ['one', 0]), ['', 1, [], []]],
    ['processing', 'read-queue: running', async ({ keys }) => await readQueue(redis, keys, ['one', 10]),
      ['', 0, [[id, 'k', '[1]', /^\d+$/, '']], []]]
  ])
})
