import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { entriesLua } from '../../queues/generation-queue.ts'
import {
  arrive, choose, claim, createPool, enter, expressList, isBackground, laneMark, leave, type Pool, shareOf,
  usualPatience, type WaitingJob
} from '../../src/jobs/claim-rule.ts'
import { packDial } from '../../src/jobs/claims.ts'
import { weightOf } from '../../src/jobs/job.ts'
import { endJob, loadQueueScripts, noteClasses, startJob } from '../../src/jobs/scripts/index.ts'
import { createRandom } from '../../src/simulator/random.ts'
import { startTestRedis } from '../redis.ts'
import {
  changeLane, changePriority, giveBack, listOf, moveBefore, moveFirst, otherLane, settle
} from './pool-model.ts'

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
const shares = ['', 'hog', 'light', 'double'].flatMap(share => [share, laneMark + share])

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

/** One service's keys, and the model beside it. @param inLane the part of the jobs that arrives in the background */
function world (prefix: string, random: () => number, inLane: number) {
  const keys: [string] = [prefix]
  const pool: Pool = createPool()
  const servers = serverIds.map((id): ServerModel =>
    ({ id, loaded: '', own: id === 's2' ? '' : 'cccccccc', claimed: null, hasClaimed: false }))
  const waiting: WaitingJob[] = []
  const runs = new Map<WaitingJob, number>()
  const claims = new Map<string, number>()
  let created = 0
  let yields = 0

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

  /** A job outside the lane has arrived: one server that claimed a job of the lane and can run it gives that back. */
  async function makeWay (t: Test, { list, class: jobClass }: WaitingJob) {
    if (isBackground(list)) return
    const yielding = servers.filter(({ id, claimed }) =>
      claimed !== null && isBackground(claimed.job.share) && canRun(id, { class: jobClass }))
    const still = await Promise.all(yielding.map(async ({ id, claimed }) =>
      await redis.zscore(`${prefix}line:${id}`, claimed?.job.id ?? '')))
    const gone = yielding.filter((_one, at) => still[at] === null)
    t.equal(gone.length, Math.min(1, yielding.length), 'one makes way')
    const [first] = gone
    if (first === undefined) return
    const { job, charged } = takeClaimed(first)
    job.skips = usualPatience.patience
    giveBack(pool, job, charged)
    runs.set(job, runOf(job) + 1)
    yields++
  }

  async function create (t: Test) {
    const key = pick(['', 'hog', 'hog', 'hog', 'light', 'double']) ?? ''
    const lane = random() < inLane ? '1' : ''
    const share = lane === '1' ? laneMark + key : key
    const priority = pick([1, 5, 5, 5, 10]) ?? 5
    const id = `job${created++}`
    const chosen = pick(classes) ?? ''
    const user = key === '' ? pick(['', 'ann', 'bob']) ?? '' : ''
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
    await createJob(redis, keys, [id, '', key, priority, '', '{}', '', '', '', '[1]', never, '', id, 1, chosen, '{}', ms,
      weightOf(priority), user, dial, 'bot', lane])
    await makeWay(t, job)
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
      id: one.id, canRun: job => canRun(one.id, job), loaded: one.loaded, own: one.own, loadSeconds: 4, held
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

  async function comeBack (t: Test, one: ServerModel) {
    const { job, charged, run } = await start(one)
    await returnJob(redis, keys, [job.id, run, owner, job.class, '{}', 0, 0, '', 'stopped', 9, '{}', '', 0, dial])
    giveBack(pool, job, charged)
    runs.set(job, run + 1)
    await makeWay(t, job)
  }

  async function unclaim (t: Test, one: ServerModel) {
    const { job, charged } = takeClaimed(one)
    await unclaimJob(redis, keys, [one.id, '', fence, '', '', 0, dial])
    job.skips = usualPatience.patience
    giveBack(pool, job, charged)
    runs.set(job, runOf(job) + 1)
    await makeWay(t, job)
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
    const how = pick(['first', 'next', 'express', 'before', 'lane', 'priority'] as const) ?? 'first'
    const other = pick(waiting)
    if (how === 'before' && (other === undefined || other === job || holderOf(other) !== undefined)) return
    const priority = pick([1, 3, 5, 8, 10]) ?? 5
    const isInLane = isBackground(job.share)
    const none = ['', '']
    const [value = '', detail = ''] = {
      first: none,
      next: none,
      express: none,
      before: [other?.id ?? '', 'any'],
      lane: [isInLane ? '' : '1', ''],
      priority: [priority, weightOf(priority)]
    }[how]
    const comesOut = isInLane && (how === 'next' || how === 'express')
    const holder = holderOf(job)
    const answer = await moveJob(redis, keys, [job.id, how, value, detail, '', dial])
    if (holder !== undefined) {
      const isMoved = how === 'priority' || how === 'lane' || comesOut
      t.same(answer[0], isMoved ? 'moved' : 'there')
      if (!isMoved) return
      settle(pool, job, 0, takeClaimed(holder).charged)
    } else if (comesOut || how === 'lane' || how === 'priority') leave(pool, job)
    if (how === 'first' || how === 'next' || how === 'express') {
      if (comesOut) {
        job.share = otherLane(job)
        job.list = how === 'express' ? expressList : job.share
        const [first] = listOf(pool, job.list)
        if (first !== undefined) job.order = first.order - 1
        enter(pool, job)
      } else {
        const list = how === 'express' ? expressList : job.share
        const isThere = listOf(pool, list)[0] === job
        t.equal(answer[0], isThere ? 'there' : 'moved')
        if (isThere) return
        moveFirst(pool, job, list)
      }
    } else if (how === 'lane') changeLane(pool, job)
    else if (how === 'priority') changePriority(pool, job, priority)
    else if (other !== undefined) {
      const isSame = isBackground(other.list) === isInLane
      t.equal(answer[0], isSame ? 'moved' : 'other_lane')
      if (!isSame) return
      moveBefore(pool, job, other)
    }
    runs.set(job, runOf(job) + 1)
    await makeWay(t, job)
  }

  /** Compares all of the pool. */
  async function compare (t: Test, step: string) {
    const names = [...shares, expressList]
    const reading = redis.pipeline()
    for (const name of names) reading.zrange(`${prefix}own:${name}`, '0', '-1', 'WITHSCORES')
    for (const lane of ['', laneMark]) {
      reading.zrange(`${prefix}fair${lane}`, '0', '-1', 'WITHSCORES').get(`${prefix}fair-now${lane}`)
    }
    reading.hgetall(`${prefix}skips`)
    const answers = (await reading.exec() ?? []).map(([, answer]) => answer)
    const scored = (answer: unknown) => (answer as string[]).map((text, at) => at % 2 === 0 ? text : Number(text))
    for (const [at, name] of names.entries()) {
      const expected = listOf(pool, name).flatMap(job =>
        [`${job.class}:${job.ms}:${job.weight}:${job.id}`, job.order])
      t.same(scored(answers[at]), expected, `${step}: jobs of "${name}"`)
    }
    const [fair, now, fairOfLane, nowOfLane, skips] = answers.slice(names.length)
    t.same(scored(fair), pool.waiting.flatMap(({ name, tag }) => [name, tag]), `${step}: tags`)
    t.equal(Number(now ?? 0), pool.now, `${step}: virtual time`)
    t.same(scored(fairOfLane), pool.background.waiting.flatMap(({ name, tag }) => [name, tag]), `${step}: tags of the lane`)
    t.equal(Number(nowOfLane ?? 0), pool.background.now, `${step}: virtual time of the lane`)
    const counted = Object.entries(skips as Record<string, string>).map(([id, count]) => [id, Number(count)])
    const passed = waiting.filter(job => job.skips > 0).map(job => [job.id, job.skips])
    t.same(Object.fromEntries(counted), Object.fromEntries(passed), `${step}: skips`)
  }

  async function step (t: Test): Promise<string> {
    const one = pick(servers) as ServerModel
    const chance = random()
    if (chance < 0.4 || waiting.length < 3) {
      await create(t)
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
    await (chance < 0.835 ? comeBack(t, one) : unclaim(t, one))
    return 'return'
  }

  return { keys, pool, waiting, servers, claims, step, compare, claimFor, end, yields: () => yields }
}

for (const [seed, inLane] of [[1, 0.3], [2, 0.9], [3, 0.9]] as const) {
  t.test(`scripts and model agree, whatever happens in which order (${seed})`, async t => {
    const prefix = `{w${seed}}:`
    const here = world(prefix, createRandom(seed), inLane)
    const { pool, waiting, servers, claims, step, compare, claimFor, end, yields } = here
    for (const id of serverIds) await redis.set(`${prefix}lease:${id}:fence`, fence)
    await redis.hset(`${prefix}access-key:double`, 'weight', 2)
    shareOf(pool, 'double').weight = 2
    shareOf(pool, `${laneMark}double`).weight = 2
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
    t.ok(yields() >= (inLane > 0.5 ? 3 : 0), `${yields()} jobs of the lane made way`)
  })
}

t.test('a forecast reads the first jobs of each share, as they take turns', async t => {
  const prefix = '{read}:'
  const create = async (share: string, count: number) => {
    for (let index = 0; index < count; index++) {
      const id = `${share} ${index}`
      await createJob(redis, [prefix], [id, '', share, 5, '', '{}', '', '', '', '20:5:', never, '', id, 1, '-any', '{}',
        1000, 1, '', dial, 'bot', ''])
    }
  }
  await create('hog', 40)
  for (const share of ['one', 'two', 'three']) await create(share, 4)
  await redis.hset(`${prefix}skips`, 'hog 0', 3)
  const [, , total, found, jobs] = await readPool(redis, [prefix], [24, 'new'])
  t.equal(total, 52)
  t.same(found.filter((_, at) => at % 5 === 0).toSorted(), ['hog', 'new', 'one', 'three', 'two'], 'and the one that is asked for')
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
      1000, 1, '', dial, 'bot', ''])
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

t.test('a claim costs the same, however many jobs wait in the background', async t => {
  const prefix = '{lane}:'
  const commands = async () => [...(await redis.info('commandstats')).matchAll(/cmdstat_(\w+):calls=(\d+)/g)]
    .filter(([, name]) => name !== 'info').reduce((sum, [, , calls]) => sum + Number(calls), 0)
  const claimOne = async () => {
    const facts = JSON.stringify({ loaded: '', default: '', title: '', loadSeconds: 4, speed: 1 })
    const before = await commands()
    const answer = await claimJob(redis, [prefix], ['here', fence, facts, dial, ''])
    const count = await commands() - before
    if (answer[0] === 'claimed') await startJob(redis, [prefix], [answer[2], 1, 'here', owner, fence])
    return { id: answer[2], count }
  }
  const create = async (id: string, lane: '1' | '', share = '') => {
    await createJob(redis, [prefix], [id, '', share, 5, '', '{}', '', '', '', '20:5:', never, '', id, 1, '-any', '{}', 1000, 1,
      '', dial, 'bot', lane])
  }
  await redis.set(`${prefix}lease:here:fence`, fence)
  await noteClasses(redis, [prefix], ['here', fence, '-any', '1', '-far', '0'])
  await create('alone', '')
  const alone = await claimOne()
  t.equal(alone.id, 'alone')
  await Promise.all(Array.from({ length: 2000 }, async (_, at) => { await create(`later${at}`, '1') }))
  await create('small', '')
  const small = await claimOne()
  t.equal(small.id, 'small')
  t.ok(small.count <= alone.count + 1, `${small.count} commands instead of ${alone.count}`)
  const later = await claimOne()
  t.match(later.id, /^later/)
  t.ok(later.count <= alone.count + 8, `${later.count} commands for one in the background`)

  for (let index = 0; index < 200; index++) {
    await createJob(redis, [prefix], [`far${index}`, '', `key${index}`, 5, '', '{}', '', '', '', '20:5:', never, '', `far${index}`, 1,
      '-far', '{}', 1000, 1, '', dial, 'bot', ''])
  }
  await create('last', '', 'zzz')
  const last = await claimOne()
  t.equal(last.id, 'last')
  const next = await claimOne()
  t.match(next.id, /^later/)
  t.ok(next.count <= later.count + 3 * 20, `shares that have nothing for the server are not all read: ${next.count}`)
})
