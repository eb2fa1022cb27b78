import t, { type Test } from 'tap'
import { codeOf, fillCauses } from '../../src/jobs/causes.ts'
import { createJobList, groupKey, type JobFilter, type JobQuery } from '../../src/jobs/list.ts'
import { endJob, removeJob, startJob } from '../../src/jobs/scripts/index.ts'
import { createJobStore } from '../../src/jobs/store.ts'
import { entriesLua } from '../../queues/generation-queue.ts'
import { findIndexProblems, readJobs } from '../support/consistency.ts'
import { dial, fence, needsOf, newWorld, owner, ownClass, redis, scripts, type World } from './script-world.ts'

const going = new AbortController().signal
const codes = ['nan', 'out_of_memory', 'server_error']
const owners = ['', 'k', 'other']
const servers = ['one', 'two']

/** The lists of a world of its own. */
async function open () {
  const world = await newWorld()
  const { keys } = world
  const patience = { patience: 3, lightPatience: 2, lightJobs: 1 }
  const store = createJobStore({ redis, keys, queueEntries: entriesLua, dial: patience })
  return { ...world, list: createJobList(redis, keys, store), parts: { redis, keys } }
}
type Here = Awaited<ReturnType<typeof open>>

async function run (here: World, id: string, server: string, code: string): Promise<void> {
  const [kind, , claimed] = await here.claim({ server })
  t.same([kind, claimed], ['claimed', id])
  const run = Number(await redis.hget(here.keys.key('job', id), 'run'))
  t.same(await startJob(redis, here.prefix, [id, run, server, owner, fence]), ['started'])
  await redis.zrem(`${here.keys.bullPrefix}:generation-${server}:prioritized`, `${id}_${run}`)
  const error = code === '' ? '' : JSON.stringify({ code, message: `${code} of ${id}`, failureClass: 'unknown' })
  t.same(await endJob(redis, here.prefix, [id, run, owner, 'failed', '', error, '[]']), ['ended', 'failed'])
}

/** Fails jobs of all causes, keys, servers and lanes, and of two groups of each key. */
async function fail (here: Here, from: number, to: number): Promise<void> {
  for (let at = from; at < to; at++) {
    const [key = '', server = ''] = [owners[at % 7 % 3], servers[at % 5 % 2]]
    const bulk = at % 4 === 0 ? '' : `${key}~${at % 2}`
    await here.create({ id: `job-${at}`, key, target: server, bulk, lane: at % 6 === 0 ? '1' : '' })
    await run(here, `job-${at}`, server, codes[at % 3] ?? '')
  }
}

const retry = async (here: Here, id: string) =>
  await scripts.retryJob(redis, here.prefix, [id, '', ownClass, needsOf(ownClass), dial])

/** As a version without indexes by error code leaves it. */
async function forget (here: Here): Promise<void> {
  const names = await redis.keys(here.keys.key('jobs', '*', '*', 'failed', '*'))
  await redis.del(here.keys.key('causes'), ...names)
  for (const id of (await readJobs({ look: redis, keys: here.keys })).keys()) await redis.hdel(here.keys.key('job', id), 'cause')
}

/** What an earlier version does: the indexes by error code, and what records say of them, stay as they were. */
async function asEarlier (here: Here, work: () => Promise<unknown>): Promise<void> {
  const { keys } = here
  const pattern = keys.key('jobs', '*', '*', 'failed', '*')
  const names = await redis.keys(pattern)
  const before = await Promise.all(names.map(async name => [name, await redis.dumpBuffer(name)] as const))
  const listed = await redis.smembers(keys.key('causes'))
  const ids = [...(await readJobs({ look: redis, keys })).keys()]
  const causes = new Map(await Promise.all(ids.map(async id => [id, await redis.hget(keys.key('job', id), 'cause')] as const)))
  await work()
  await redis.del(keys.key('causes'), ...await redis.keys(pattern))
  for (const [name, dump] of before) await redis.restore(name, 0, dump)
  if (listed.length > 0) await redis.sadd(keys.key('causes'), ...listed)
  for (const id of (await readJobs({ look: redis, keys })).keys()) {
    const cause = causes.get(id) ?? null
    if (cause === null) await redis.hdel(keys.key('job', id), 'cause')
    else await redis.hset(keys.key('job', id), 'cause', cause)
  }
}

const filters: JobFilter[] = [undefined, ...owners.slice(1)].flatMap(keyId => [undefined, 'one'].flatMap(serverId =>
  [undefined, ...codes, 'none'].flatMap(errorCode => [undefined, 'k~1', '~0'].flatMap(group =>
    [{}, { background: true }, { background: false }, { text: 'lighthouse' }, { status: 'failed' as const }].map(more => ({
      ...keyId === undefined ? {} : { keyId },
      ...serverId === undefined ? {} : { serverId },
      ...errorCode === undefined ? {} : { errorCode },
      ...group === undefined ? {} : { group },
      ...more
    }))))))

let turn = 0

/** Of a part of the filters, another one each time: every list, count, page and cause is what the records say. */
async function compare (t: Test, { keys, list }: Here, what: string): Promise<void> {
  const jobs = [...(await readJobs({ look: redis, keys })).values()]
  const arrivals = new Map(await Promise.all(jobs.map(async ({ id }) =>
    [id, Number(await redis.hget(keys.key('job', id), 'arrival'))] as const)))
  jobs.sort((one, other) => Number(arrivals.get(one.id)) - Number(arrivals.get(other.id)))
  const wrong: string[] = []
  turn++
  for (const filter of filters.filter((_, index) => index % 13 === turn % 13)) {
    const { keyId, serverId, errorCode, group, background, status } = filter
    const fit = jobs.filter(job => (keyId ?? job.keyId) === job.keyId && (serverId ?? job.serverId) === job.serverId &&
      (errorCode === undefined || (job.status === 'failed' && codeOf(job) === errorCode)) &&
      (group ?? job.bulkId) === job.bulkId && (background ?? job.background) === job.background &&
      (status ?? job.status) === job.status)
    const ids = fit.map(({ id }) => id)
    const query: JobQuery = { ...filter, order: 'newest', limit: 7, offset: 0 }
    const first = await list.idPage(query)
    const second = first.nextCursor === null ? [] : (await list.idPage({ ...query, cursor: first.nextCursor })).ids
    const { ids: skipped } = await list.idPage({ ...query, offset: 3 })
    const newest = ids.toReversed()
    const failed = (code: string) => fit.filter(job => job.status === 'failed' && codeOf(job) === code)
    const causes = (await list.causes(filter)).map(cause => [cause.code, cause.count, cause.newest.id]).toSorted()
    const found = {
      ids: await list.ids(filter),
      count: await list.count(filter),
      first: first.ids,
      total: first.total,
      second,
      skipped,
      causes: errorCode === undefined ? causes : null
    }
    const wanted = {
      ids,
      count: ids.length,
      first: newest.slice(0, 7),
      total: ids.length,
      second: newest.slice(7, 14),
      skipped: newest.slice(3, 10),
      causes: errorCode === undefined
        ? codes.flatMap(code => failed(code).length === 0 ? [] : [[code, failed(code).length, failed(code).at(-1)?.id]])
        : null
    }
    if (JSON.stringify(found) !== JSON.stringify(wanted)) {
      wrong.push(`${JSON.stringify(filter)}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`)
    }
  }
  t.same(wrong.slice(0, 3), [], what)
}

const agree = async (t: Test, { keys }: Here, what: string) => {
  t.same(await findIndexProblems({ look: redis, keys }), [], what)
}

t.test('lists and counts by error code and group are what the records say', async t => {
  const here = await open()
  await fail(here, 0, 40)
  await here.create({ id: 'waiting', key: 'k', bulk: 'k~1' })
  await compare(t, here, 'by the indexes')
  await agree(t, here, 'the indexes have what the records say')
  for (const at of [3, 4, 5]) t.equal((await retry(here, `job-${at}`))[0], 'entered')
  for (const at of [6, 7, 8]) t.same(await removeJob(redis, here.prefix, [`job-${at}`]), ['removed'])
  await compare(t, here, 'after retries and removals')
  await agree(t, here, 'a retry and a removal leave the indexes')
  for (const { id } of (await readJobs({ look: redis, keys: here.keys })).values()) {
    await scripts.cancelJob(redis, here.prefix, [id])
    t.same(await removeJob(redis, here.prefix, [id]), ['removed'])
  }
  t.equal(await redis.exists(here.keys.key('causes'), groupKey(here.keys, 'k~1')), 0, 'nothing is left of removed jobs')
})

t.test('a job that was sent too often, or failed without an error, has a cause', async t => {
  const here = await open()
  await here.create()
  await here.claim()
  await here.start()
  t.same(await here.giveBack({ allowed: 1 }), ['spent'])
  await here.create({ id: 'silent' })
  await run(here, 'silent', 'one', '')
  t.same((await here.list.causes({})).map(({ code, count }) => [code, count]).toSorted(), [['out_of_memory', 1], ['unknown', 1]])
  t.same(await here.list.ids({ errorCode: 'unknown' }), ['silent'])
  await agree(t, here, 'the indexes have both')
})

t.test('failed jobs of an earlier version are counted by their records until they are entered', async t => {
  const here = await open()
  await fail(here, 0, 40)
  await forget(here)
  await compare(t, here, 'by the records')
  await fail(here, 40, 43)
  await compare(t, here, 'while new ones fail')
  await retry(here, 'job-2')
  await fillCauses(here.parts, going)
  await agree(t, here, 'all are entered')
  await compare(t, here, 'by the indexes')
  await fillCauses(here.parts, going)
  await agree(t, here, 'another check changes nothing')
})

t.test('what an earlier version does meanwhile is noticed', async t => {
  const here = await open()
  await fail(here, 0, 30)
  await asEarlier(here, async () => { await fail(here, 30, 33) })
  await compare(t, here, 'it fails some')
  await asEarlier(here, async () => { await removeJob(redis, here.prefix, ['job-0']) })
  await compare(t, here, 'it removes one')
  await asEarlier(here, async () => { await retry(here, 'job-1') })
  await compare(t, here, 'it retries one')
  await run(here, 'job-1', servers[1] ?? '', 'nan')
  await fillCauses(here.parts, going)
  await agree(t, here, 'the check mends it all')
  await compare(t, here, 'by the indexes')
})

t.test('a page and the causes need as many commands for 690 failed jobs as for 250', async t => {
  const here = await open()
  const commands = async () => [...(await redis.info('commandstats')).matchAll(/cmdstat_(\w+):calls=(\d+)/g)]
    .reduce((sum, [, name, calls]) => name === 'info' ? sum : sum + Number(calls), 0)
  const counted = async (work: () => Promise<unknown>) => {
    const before = await commands()
    await work()
    return await commands() - before
  }
  const query = { errorCode: 'nan', order: 'newest', limit: 10, offset: 0 } as const
  const measure = async () => ({
    page: await counted(async () => await here.list.page(query)),
    ofKey: await counted(async () => await here.list.page({ ...query, keyId: 'k', serverId: 'one' })),
    count: await counted(async () => await here.list.count({ errorCode: 'nan' })),
    causes: await counted(async () => await here.list.causes({})),
    group: await counted(async () => await here.list.page({ keyId: 'k', group: 'k~1', order: 'newest', limit: 10, offset: 0 }))
  })
  await fail(here, 0, 250)
  const few = await measure()
  await fail(here, 250, 690)
  t.match(await measure(), few)
  t.equal(await here.list.count({ errorCode: 'nan' }), 230)
  t.ok(few.page <= 30 && few.causes <= 30 && few.count <= 20, JSON.stringify(few))
})
