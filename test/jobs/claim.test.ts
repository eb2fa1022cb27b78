import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { entriesLua } from '../../queues/generation-queue.ts'
import {
  arrive, choose, claim, createPool, expressList, leave, type Pool, shareOf, usualPatience, type WaitingJob
} from '../../src/jobs/claim-rule.ts'
import { packDial } from '../../src/jobs/claims.ts'
import { weightOf } from '../../src/jobs/job.ts'
import { endJob, loadQueueScripts, noteClasses, startJob } from '../../src/jobs/scripts/index.ts'
import { createRandom } from '../../src/simulator/random.ts'
import { startTestRedis } from '../redis.ts'
import { changePriority, giveBack, listOf, moveBefore, moveFirst, settle } from './pool-model.ts'

/** Random interleavings of all that happens to jobs: the scripts and the model of the rule agree after each step. */
const server = await startTestRedis()
t.teardown(server.stop)
const redis = new Redis(server.url)
t.teardown(() => { redis.disconnect() })
const { createJob, claimJob, unclaimJob, returnJob, cancelJob, moveJob, readPool } = loadQueueScripts(entriesLua)

const fence = 7
const owner = 'worker'
const never = Number.MAX_SAFE_INTEGER
const { loads: _loads, ...patience } = usualPatience
const dial = packDial(patience)
const serverIds = ['s1', 's2', 's3']
/** Class ids begin with the checkpoint; `s1` and `far` mark those that only the first server, or none, can run. */
const classes = ['aaaaaaaa-any', 'bbbbbbbb-any', 'cccccccc-any', '-any', 'aaaaaaaa-s1', 'bbbbbbbb-far']
const shares = ['', 'hog', 'light', 'double']

interface ServerModel {
  readonly id: string
  loaded: string
  readonly own: string
  claimed: { readonly job: WaitingJob, readonly charged: number } | null
  hasClaimed: boolean
}

function canRun (serverId: string, job: Pick<WaitingJob, 'class'>): boolean {
  return job.class.endsWith('-any') || (serverId === 's1' && job.class.endsWith('-s1'))
}

/** One service's keys, and the model beside it. */
function world (prefix: string, random: () => number) {
  const keys: [string] = [prefix]
  const pool: Pool = createPool()
  const servers = serverIds.map((id): ServerModel =>
    ({ id, loaded: '', own: id === 's2' ? '' : 'cccccccc', claimed: null, hasClaimed: false }))
  const waiting: WaitingJob[] = []
  const runs = new Map<WaitingJob, number>()
  const claims = new Map<string, number>()
  let created = 0

  const pick = <Value>(values: readonly Value[]): Value | undefined => values[Math.floor(random() * values.length)]
  const runOf = (job: WaitingJob) => runs.get(job) ?? 1
  const forget = (job: WaitingJob) => { waiting.splice(waiting.indexOf(job), 1) }
  const holderOf = (job: WaitingJob) => servers.find(({ claimed }) => claimed?.job === job)

  /** The job leaves the server that claimed it, with what the claim charged. */
  function takeClaimed (one: ServerModel): { readonly job: WaitingJob, readonly charged: number } {
    const { claimed } = one
    if (claimed === null) throw new Error(`${one.id} has claimed nothing`)
    one.claimed = null
    return claimed
  }

  async function create () {
    const share = pick(['', 'hog', 'hog', 'hog', 'light', 'double']) ?? ''
    const priority = pick([1, 5, 5, 5, 10]) ?? 5
    const id = `job${created++}`
    const chosen = pick(classes) ?? ''
    const user = share === '' ? pick(['', 'ann', 'bob']) ?? '' : ''
    const ms = 1 + Math.floor(random() * 30_000)
    const job: WaitingJob = {
      id,
      share,
      list: share,
      user,
      priority,
      weight: weightOf(priority),
      class: chosen,
      checkpoint: chosen.split('-')[0] ?? '',
      ms,
      order: 0,
      skips: 0
    }
    arrive(pool, job)
    waiting.push(job)
    await createJob(redis, keys, [id, '', share, priority, '', '{}', '', '', '', '[1]', never, '', id, 1, chosen, '{}', ms,
      weightOf(priority), user, dial, 'bot'])
  }

  async function claimFor (t: Test, one: ServerModel) {
    const facts = JSON.stringify({ loaded: one.loaded, default: one.own, title: '', loadSeconds: 4, speed: 1 })
    const ask = async () => await claimJob(redis, keys, [one.id, fence, facts, dial, ''])
    let answer = await ask()
    if (answer[0] === 'unknown') {
      const answers = classes.flatMap(name => [name, canRun(one.id, { class: name }) ? '1' : '0'])
      await noteClasses(redis, keys, [one.id, fence, ...answers])
      answer = await ask()
    }
    const held = new Map<string, number>()
    for (const other of servers) {
      if (other === one || !other.hasClaimed || other.loaded === '') continue
      held.set(other.loaded, (held.get(other.loaded) ?? 0) + 1)
    }
    if (one.claimed !== null) {
      t.same(answer, ['ready'])
      return
    }
    const choice = choose(pool, {
      canRun: job => canRun(one.id, job), loaded: one.loaded, own: one.own, loadSeconds: 4, held
    })
    t.same(answer.slice(0, 3), choice === null ? ['none', -1] : ['claimed', choice.passed.length, choice.job.id])
    if (choice === null) return
    one.claimed = { job: choice.job, charged: claim(pool, choice) }
    one.hasClaimed = true
    one.loaded = choice.job.checkpoint !== '' ? choice.job.checkpoint : one.own !== '' ? one.own : one.loaded
    for (const { id, skips } of choice.passed) t.ok(skips <= usualPatience.patience, `${id}: ${skips}`)
    claims.set(choice.job.id, (claims.get(choice.job.id) ?? 0) + 1)
  }

  async function start (one: ServerModel) {
    const claimed = takeClaimed(one)
    const run = runOf(claimed.job)
    const answer = await startJob(redis, keys, [claimed.job.id, run, one.id, owner, fence])
    return { ...claimed, run, answer }
  }

  async function end (t: Test, one: ServerModel) {
    const { job, charged, run, answer } = await start(one)
    t.same(answer, ['started'])
    await endJob(redis, keys, [job.id, run, owner, 'completed', '', '', ''])
    const [from, until] = await redis.hmget(`${prefix}job:${job.id}`, 'started', 'ended')
    settle(pool, job, (Number(until) - Number(from)) / 1000, charged)
    forget(job)
  }

  async function comeBack (one: ServerModel) {
    const { job, charged, run } = await start(one)
    await returnJob(redis, keys, [job.id, run, owner, job.class, '{}', 0, 0, '', 'stopped', 9, '{}', '', 0, dial])
    giveBack(pool, job, charged)
    runs.set(job, run + 1)
  }

  async function unclaim (one: ServerModel) {
    const { job, charged } = takeClaimed(one)
    await unclaimJob(redis, keys, [one.id, '', fence, '', '', 0, dial])
    job.skips = usualPatience.patience
    giveBack(pool, job, charged)
    runs.set(job, runOf(job) + 1)
  }

  async function cancel (job: WaitingJob) {
    const holder = holderOf(job)
    if (holder === undefined) leave(pool, job)
    else {
      const { charged } = takeClaimed(holder)
      settle(pool, job, 0, charged)
    }
    forget(job)
    await cancelJob(redis, keys, [job.id])
  }

  async function move (t: Test, job: WaitingJob) {
    const how = pick(['first', 'express', 'before', 'priority'] as const) ?? 'first'
    const other = pick(waiting)
    if (how === 'before' && (other === undefined || other === job || holderOf(other) !== undefined)) return
    const priority = pick([1, 3, 5, 8, 10]) ?? 5
    const values = { first: ['', ''], express: ['', ''], before: [other?.id ?? '', 'any'], priority: [priority, weightOf(priority)] }
    const [value = '', detail = ''] = values[how]
    const holder = holderOf(job)
    const answer = await moveJob(redis, keys, [job.id, how, value, detail, '', dial])
    if (holder !== undefined) {
      t.same(answer[0], how === 'priority' ? 'moved' : 'there')
      if (how !== 'priority') return
      const { charged } = takeClaimed(holder)
      settle(pool, job, 0, charged)
      Object.assign(job, { priority, weight: weightOf(priority), list: job.share })
      arrive(pool, job)
    } else if (how === 'first' || how === 'express') {
      const list = how === 'first' ? job.share : expressList
      const isThere = listOf(pool, list)[0] === job
      t.equal(answer[0], isThere ? 'there' : 'moved')
      if (isThere) return
      moveFirst(pool, job, list)
    } else if (how === 'priority') changePriority(pool, job, priority)
    else if (other !== undefined) moveBefore(pool, job, other)
    runs.set(job, runOf(job) + 1)
  }

  /** Compares all of the pool. */
  async function compare (t: Test, step: string) {
    const names = [...shares, expressList]
    const reading = redis.pipeline()
    for (const name of names) reading.zrange(`${prefix}own:${name}`, '0', '-1', 'WITHSCORES')
    reading.zrange(`${prefix}fair`, '0', '-1', 'WITHSCORES').get(`${prefix}fair-now`).hgetall(`${prefix}skips`)
    const answers = (await reading.exec() ?? []).map(([, answer]) => answer)
    const scored = (answer: unknown) => (answer as string[]).map((text, at) => at % 2 === 0 ? text : Number(text))
    for (const [at, name] of names.entries()) {
      const expected = listOf(pool, name).flatMap(job =>
        [`${job.class}:${job.ms}:${job.weight}:${job.id}`, job.order])
      t.same(scored(answers[at]), expected, `${step}: jobs of "${name}"`)
    }
    const [fair, now, skips] = answers.slice(names.length)
    t.same(scored(fair), pool.waiting.flatMap(({ name, tag }) => [name, tag]), `${step}: tags`)
    t.equal(Number(now ?? 0), pool.now, `${step}: virtual time`)
    const counted = Object.entries(skips as Record<string, string>).map(([id, count]) => [id, Number(count)])
    const passed = waiting.filter(job => job.skips > 0).map(job => [job.id, job.skips])
    t.same(Object.fromEntries(counted), Object.fromEntries(passed), `${step}: skips`)
  }

  async function step (t: Test): Promise<string> {
    const one = pick(servers) as ServerModel
    const chance = random()
    if (chance < 0.4 || waiting.length < 3) {
      await create()
      return 'create'
    }
    if (chance < 0.65) {
      await claimFor(t, one)
      return 'claim'
    }
    const job = pick(waiting)
    if (chance > 0.95 && job !== undefined) {
      await cancel(job)
      return 'cancel'
    }
    if (chance > 0.87 && job !== undefined) {
      await move(t, job)
      return 'move'
    }
    if (one.claimed === null) return 'nothing'
    if (chance < 0.8) {
      await end(t, one)
      return 'end'
    }
    await (chance < 0.835 ? comeBack(one) : unclaim(one))
    return 'return'
  }

  return { keys, pool, waiting, servers, claims, step, compare, claimFor, end, create }
}

for (const seed of [1, 2, 3]) {
  t.test(`scripts and model agree, whatever happens in which order (${seed})`, async t => {
    const prefix = `{w${seed}}:`
    const { pool, waiting, servers, claims, step, compare, claimFor, end } = world(prefix, createRandom(seed))
    for (const id of serverIds) await redis.set(`${prefix}lease:${id}:fence`, fence)
    await redis.hset(`${prefix}access-key:double`, 'weight', 2)
    shareOf(pool, 'double').weight = 2
    for (let count = 0; count < 400 && t.passing(); count++) await compare(t, `${count} ${await step(t)}`)
    // At the end each job that some server can run is run, and once.
    for (let rounds = 0; rounds < 1000 && t.passing() && waiting.some(job => !job.class.endsWith('-far')); rounds++) {
      for (const one of servers) {
        if (one.claimed === null) await claimFor(t, one)
        if (one.claimed !== null) await end(t, one)
      }
    }
    await compare(t, 'the end')
    t.ok(waiting.every(job => job.class.endsWith('-far')), `${waiting.length} are left`)
    t.ok(claims.size > 50)
  })
}

t.test('a forecast reads the first jobs of each share, as they take turns', async t => {
  const prefix = '{read}:'
  const create = async (share: string, count: number) => {
    for (let index = 0; index < count; index++) {
      const id = `${share} ${index}`
      await createJob(redis, [prefix], [id, '', share, 5, '', '{}', '', '', '', '20:5:', never, '', id, 1, '-any', '{}',
        1000, 1, '', dial, 'bot'])
    }
  }
  await create('hog', 40)
  for (const share of ['one', 'two', 'three']) await create(share, 4)
  await redis.hset(`${prefix}skips`, 'hog 0', 3)
  const [, total, found, jobs] = await readPool(redis, [prefix], [24, 'new'])
  t.equal(total, 52)
  t.same(found.filter((_, at) => at % 4 === 0).toSorted(), ['hog', 'new', 'one', 'three', 'two'], 'and the one that is asked for')
  t.same(jobs.map(([id]) => id).toSorted(), [
    ...Array.from({ length: 12 }, (_, index) => `hog ${index}`),
    ...['one', 'two', 'three'].flatMap(share => [0, 1, 2, 3].map(index => `${share} ${index}`))
  ].toSorted())
  t.match(jobs.find(([id]) => id === 'hog 0'), ['hog 0', 'hog', '20:5:', 'hog', '1', '-any:1000:1:hog 0', '3'])
})

t.test('a claim reads none of the shares that have nothing for the server', async t => {
  const prefix = '{elsewhere}:'
  const calls = async () => Number(/cmdstat_zrange:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0)
  const claim = async () => {
    const facts = JSON.stringify({ loaded: '', default: '', title: '', loadSeconds: 4, speed: 1 })
    const before = await calls()
    const answer = await claimJob(redis, [prefix], ['here', fence, facts, dial, ''])
    return { answer, calls: await calls() - before }
  }
  const create = async (share: string, jobClass: string) => {
    await createJob(redis, [prefix], [share, '', share, 5, '', '{}', '', '', '', '20:5:', never, '', share, 1, jobClass, '{}',
      1000, 1, '', dial, 'bot'])
  }
  await redis.set(`${prefix}lease:here:fence`, fence)
  for (let index = 0; index < 200; index++) await create(`key${String(index).padStart(3, '0')}`, '-far')
  await noteClasses(redis, [prefix], ['here', fence, '-far', '0', '-here', '1'])
  const none = await claim()
  t.match(none.answer, ['none'])
  t.ok(none.calls < 10, `it looks at no share (${none.calls})`)
  await create('key000a', '-here')
  const { answer, calls: needed } = await claim()
  t.match(answer, ['claimed', 0, 'key000a'])
  t.ok(needed < 10, `it stops after the only job that it can run (${needed})`)
})
