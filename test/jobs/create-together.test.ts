import t from 'tap'
import { entriesLua } from '../../queues/generation-queue.ts'
import type { JobSubmission } from '../../src/jobs/job.ts'
import { createJobStore, type NewJob } from '../../src/jobs/store.ts'
import { findIndexProblems } from '../support/consistency.ts'
import { needsOf, newWorld, ownClass, redis } from './script-world.ts'

const submission: JobSubmission = {
  mode: 'txt2img',
  parameters: { prompt: 'a lighthouse' },
  checkpoint: null,
  checkpointTitle: null,
  anyServer: true,
  appType: 'forge',
  source: 'extension',
  onMissing: 'refuse',
  onDifference: 'warn',
  warnings: []
}

async function open () {
  const world = await newWorld()
  const dial = { patience: 3, lightPatience: 2, lightJobs: 1 }
  const store = createJobStore({ redis, keys: world.keys, queueEntries: entriesLua, dial, waitingPerKey: 25 })
  const create = async (id: string, given: Partial<NewJob> = {}) => await store.create({
    id,
    target: '',
    jobClass: { id: ownClass, needs: needsOf(ownClass) },
    workMs: 1000,
    user: '',
    keyId: null,
    priority: 5,
    background: false,
    bulkId: null,
    submission,
    ...given
  })
  return { ...world, store, create }
}

const calls = async () => [...(await redis.info('commandstats')).matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)]
  .reduce((sum, [, count]) => sum + Number(count), 0)

t.test('jobs of one turn are created with few calls, in their order', async t => {
  const { create, keys, store } = await open()
  await create('first')
  const before = await calls()
  const ids = Array.from({ length: 20 }, (_, at) => `job-${at}`)
  const created = await Promise.all(ids.map(async id => await create(id)))
  t.equal(await calls() - before, 3)
  t.same(created.map(one => one.existing === null && one.position), ids.map((_, at) => at + 2))
  t.same(await store.inOrder('', 100), ['first', ...ids])
  t.same(await findIndexProblems({ look: redis, keys }), [])
})

t.test('a job that is refused or fails leaves the others of its turn alone', async t => {
  const { create, keys, store } = await open()
  await create('known')
  await redis.set(keys.key('bulk', 'spoilt', 'jobs'), 'no index')
  const full = { keyId: 'k', group: { id: 'many', size: 26 } }
  const [one, failed, known, refused, other] = await Promise.allSettled([
    create('one'), create('failed', { bulkId: 'spoilt' }), create('known'), create('refused', full), create('other')
  ])
  t.match(one, { status: 'fulfilled', value: { existing: null, position: 2 } })
  t.match(failed, { status: 'rejected', reason: { code: 'queue_error', cause: { message: /WRONGTYPE/ } } })
  t.match(known, { status: 'fulfilled', value: { existing: { id: 'known' } } })
  t.match(refused, { status: 'rejected', reason: { code: 'queue_limit_reached' } })
  t.match(other, { status: 'fulfilled', value: { existing: null, position: 3 } })
  t.same(await store.inOrder('', 100), ['known', 'one', 'other'])
})

t.test('jobs of one turn count against the limit of their key', async t => {
  const { create, keys } = await open()
  await create('first', { keyId: 'k' })
  const outcomes = await Promise.allSettled(Array.from({ length: 30 }, async (_, at) => await create(`job-${at}`, { keyId: 'k' })))
  t.same(outcomes.map(({ status }) => status), Array.from({ length: 30 }, (_, at) => at < 24 ? 'fulfilled' : 'rejected'))
  t.same(await findIndexProblems({ look: redis, keys }), [])
})

t.test('idle servers get the first jobs of a turn', async t => {
  const { claim, create, keys } = await open()
  for (const server of ['one', 'two']) t.match(await claim({ server, idle: 'idle' }), ['none'])
  const created = await Promise.all(['a', 'b', 'c'].map(async id => await create(id)))
  const servers = created.map(one => one.existing === null && one.givenTo)
  t.same([servers.slice(0, 2).toSorted(), servers[2]], [['one', 'two'], ''])
  t.same(await findIndexProblems({ look: redis, keys }), [])
})

t.test('jobs of one turn get the servers and positions that they get one by one', async t => {
  const jobs: ReadonlyArray<Partial<NewJob>> = [
    { background: true }, {}, { keyId: 'k' }, { background: true }, { keyId: 'k', background: true }, { keyId: 'l' },
    {}, { keyId: 'k' }, { keyId: 'l', priority: 9 }, {}, { background: true }, { keyId: 'm' }
  ]
  const outcomes = []
  for (const together of [true, false]) {
    const { claim, create, keys, store } = await open()
    for (const server of ['one', 'two']) t.match(await claim({ server, idle: 'idle' }), ['none'])
    const created = []
    const work = jobs.map((job, at) => async () => await create(`job-${at}`, job))
    if (together) created.push(...await Promise.all(work.map(async begin => await begin())))
    else for (const begin of work) created.push(await begin())
    outcomes.push({
      created: created.map(one => one.existing === null && [one.position, one.givenTo]),
      order: await store.inOrder('', 100)
    })
    t.same(await findIndexProblems({ look: redis, keys }), [])
  }
  t.same(outcomes[0], outcomes[1])
  t.match(outcomes[0]?.created[0], [1, /one|two/])
})

t.test('a fault of Redis is the error of each job', async t => {
  const { create } = await open()
  const [max = '0'] = (await redis.config('GET', 'maxmemory') as string[]).slice(1)
  await redis.config('SET', 'maxmemory', '1')
  const outcomes = await Promise.allSettled(['a', 'b'].map(async id => await create(id)))
  await redis.config('SET', 'maxmemory', max)
  for (const outcome of outcomes) t.match(outcome, { status: 'rejected', reason: { name: 'ReplyError', message: /OOM/ } })
  t.match(await create('a'), { existing: null })
})
