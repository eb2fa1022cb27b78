import t from 'tap'
import {
  arrive, choose, claim, createPool, enter, expressList, type FreeServer, laneMark, leave, type Pool, shareOf,
  usualPatience, type WaitingJob
} from '../../src/jobs/claim-rule.ts'
import { weightOf } from '../../src/jobs/job.ts'
import { createRandom } from '../../src/simulator/random.ts'
import { newJob, type PlannedJob, quantile, runFleet, zipf } from './fleet.ts'
import { giveBack, settle } from './pool-model.ts'

/** The rule of claims, without Redis. */
const seeds = [1, 2, 3, 4, 5]

function server (facts: Partial<FreeServer> = {}): FreeServer {
  return { id: 'one', canRun: () => true, loaded: 'a', own: '', loadSeconds: 15, held: new Map(), ...facts }
}

function take (pool: Pool, facts: Partial<FreeServer> = {}): WaitingJob | null {
  const choice = choose(pool, server(facts))
  if (choice !== null) claim(pool, choice)
  return choice?.job ?? null
}

/** Claims until the pool is empty; the names of the shares, in order. */
function sharesInOrder (pool: Pool): string[] {
  const order = []
  for (let job; (job = take(pool)) !== null;) order.push(job.share)
  return order
}

function fill (pool: Pool, count: number, facts: Partial<WaitingJob>): WaitingJob[] {
  return Array.from({ length: count }, (_, index) => {
    const id = `${facts.share ?? ''}${facts.user ?? ''}${index}`
    const job = newJob(index, { list: facts.share ?? '', ...facts, id })
    arrive(pool, job)
    return job
  })
}

/** Two hundred jobs at once. */
function mixture (seed: number, checkpoints: (random: () => number) => string): PlannedJob[] {
  const random = createRandom(seed)
  return Array.from({ length: 200 }, () => ({ at: 0, checkpoint: checkpoints(random), seconds: 12 }))
}

t.test('whatever arrives, each job is claimed once and passed over no more often than its patience', async t => {
  for (const seed of seeds) {
    const random = createRandom(seed)
    const plan = Array.from({ length: 400 }, (): PlannedJob => ({
      at: Math.floor(random() * 40) * 30,
      share: `key ${Math.floor(random() ** 3 * 12)}`,
      user: random() < 0.5 ? '' : `user ${Math.floor(random() * 3)}`,
      priority: 1 + Math.floor(random() * 10),
      checkpoint: zipf(6, random),
      class: random() < 0.2 ? 'only the first' : 'any',
      seconds: 1 + Math.floor(random() * 30)
    }))
    const others = { canRun: (job: WaitingJob) => job.class === 'any' }
    const { runs, skips } = runFleet(plan, [{}, others, others])
    t.equal(runs.length, plan.length)
    t.equal(new Set(runs.map(({ index }) => index)).size, plan.length)
    t.ok(skips <= usualPatience.patience, `${skips} times`)
  }
})

t.test('few loads, although no job waits for long behind later ones', async t => {
  const cases = [
    { name: 'six checkpoints, one server', servers: 1, pick: (random: () => number) => zipf(6, random), most: 1.12 },
    { name: 'six checkpoints, three servers', servers: 3, pick: (random: () => number) => zipf(6, random), most: 1.12 },
    {
      name: 'twelve checkpoints, two servers',
      servers: 2,
      pick: (random: () => number) => String(Math.floor(random() * 12)),
      most: 1.2
    }
  ]
  for (const { name, servers, pick, most } of cases) {
    const fleets = seeds.map(seed => runFleet(mixture(seed, pick), Array.from({ length: servers }, () => ({}))))
    const ratio = fleets.reduce((sum, fleet) => sum + fleet.ratio, 0) / fleets.length
    t.ok(ratio <= most, `${name}: ${ratio.toFixed(3)} times the least time`)
    t.ok(fleets.every(fleet => fleet.skips <= 48), `${name}: ${Math.max(...fleets.map(fleet => fleet.skips))} overtakes`)
  }
})

t.test('without patience jobs begin in the fair order', async t => {
  const settings = { patience: 0, lightPatience: 0 }
  const { runs } = runFleet(mixture(1, random => zipf(6, random)), [{}], { settings })
  t.same(runs.map(({ index }) => index), runs.map((_, position) => position))
})

t.test('a share with many jobs does not hold up shares with few', async t => {
  const pool = createPool()
  fill(pool, 100, { share: 'hog' })
  for (let key = 0; key < 9; key++) fill(pool, 3, { share: `key ${key}` })
  const served = sharesInOrder(pool).slice(0, 30)
  for (const share of new Set(served)) t.equal(served.filter(name => name === share).length, 3, share)
})

t.test('newcomers with few jobs wait for what runs and little more', async t => {
  for (const seed of seeds) {
    const random = createRandom(seed)
    const plan: PlannedJob[] = Array.from({ length: 200 }, () =>
      ({ at: 0, share: 'hog', checkpoint: zipf(6, random), seconds: 12 }))
    for (let at = 30; at < 2500; at += 60) plan.push({ at, share: `key ${at}`, checkpoint: zipf(6, random), seconds: 12 })
    const waits = runFleet(plan, [{}]).runs.filter(({ job }) => job.share !== 'hog').map(({ at, start }) => start - at)
    // Two jobs, one load, and what runs: a job with its load.
    t.ok(quantile(waits, 0.95) <= 2 * 12 + 15 + 27, `${quantile(waits, 0.95)} seconds`)
  }
})

t.test('a busy share at one server does not delay newcomers at another', async t => {
  const plan: PlannedJob[] = []
  for (let at = 0; at < 2000; at += 2) {
    plan.push({ at, share: 'alone', class: 'x', seconds: 2 })
    for (const share of ['one', 'other']) plan.push({ at, share, class: 'y', seconds: 1.2 })
    if (at % 200 === 100) plan.push({ at, share: `new ${at}`, class: 'y', seconds: 1 })
  }
  const { runs } = runFleet(plan, [{ canRun: job => job.class === 'x' }, { canRun: job => job.class === 'y' }])
  const waits = runs.filter(({ job }) => job.share.startsWith('new')).map(({ at, start }) => start - at)
  t.equal(waits.length, 10)
  t.ok(Math.max(...waits) < 5, `${Math.max(...waits)} seconds`)
})

t.test('GPU time is divided by the weights of keys', async t => {
  const pool = createPool()
  shareOf(pool, 'double').weight = 2
  fill(pool, 60, { share: 'double' })
  fill(pool, 60, { share: 'single' })
  fill(pool, 60, { share: 'long', ms: 36_000 })
  const first = sharesInOrder(pool).slice(0, 40)
  const count = (share: string) => first.filter(name => name === share).length
  t.ok(Math.abs(count('double') - 2 * count('single')) <= 2, `${count('double')} and ${count('single')}`)
  t.ok(Math.abs(count('single') - 3 * count('long')) <= 3, `${count('single')} and ${count('long')}`)
})

t.test('users divide the share of their key', async t => {
  const pool = createPool()
  fill(pool, 30, { user: 'many' })
  fill(pool, 3, { user: 'few' })
  const users = Array.from({ length: 6 }, () => take(pool)?.user)
  t.equal(users.filter(user => user === 'few').length, 3)
})

t.test('priorities are weights: the highest gets most turns, and the lowest is not left waiting', async t => {
  t.same([10, 5, 1].map(weightOf), [2, 1, 0.25])
  const pool = createPool()
  const [low] = fill(pool, 1, { share: 'patient', priority: 1 })
  fill(pool, 200, { share: 'greedy', priority: 10 })
  const order = sharesInOrder(pool)
  t.ok(order.indexOf('patient') < 12, `begins after ${order.indexOf('patient')} jobs`)
  fill(pool, 100, { priority: 10, user: 'a' })
  fill(pool, 1, { priority: 1, user: 'b' })
  const own = Array.from({ length: 101 }, () => take(pool)?.user)
  t.ok(own.indexOf('b') < 12, `within a key after ${own.indexOf('b')} jobs`)
  t.equal(low?.skips, 0)
})

t.test('the jobs of a user keep their order, and a job that is given back keeps its place', async t => {
  const pool = createPool()
  const jobs = fill(pool, 5, {})
  t.equal(take(pool), jobs[0])
  const choice = choose(pool, server())
  if (choice === null) throw new Error('There is a job.')
  const charged = claim(pool, choice)
  fill(pool, 3, { user: 'other' })
  giveBack(pool, choice.job, charged)
  t.equal(take(pool), jobs[1])
})

t.test('a job that is given back to an empty list goes before those that arrived meanwhile', async t => {
  const pool = createPool()
  const jobs = fill(pool, 20, {})
  for (let count = 0; count < 19; count++) take(pool)
  const last = choose(pool, server())
  if (last === null) throw new Error('There is a job.')
  const charged = claim(pool, last)
  fill(pool, 5, { user: 'new' })
  giveBack(pool, last.job, charged)
  t.equal(take(pool), jobs[19])
})

t.test('a job that no server can run neither blocks its share nor lets newcomers overtake it', async t => {
  const pool = createPool()
  fill(pool, 1, { user: 'stuck', class: 'nowhere' })
  fill(pool, 20, { user: 'one' })
  const canRun = (job: WaitingJob) => job.class !== 'nowhere'
  for (let count = 0; count < 10; count++) t.equal(take(pool, { canRun })?.user, 'one')
  fill(pool, 10, { user: 'two' })
  const users = Array.from({ length: 6 }, () => take(pool, { canRun })?.user)
  t.equal(users.filter(user => user === 'one').length, 3)
})

/** Two servers, each with a class of its own. */
const apart = {
  slow: { id: 'slow', canRun: (job: WaitingJob) => job.class !== 'fast' },
  fast: { id: 'fast', canRun: (job: WaitingJob) => job.class === 'fast' }
}

t.test('a newcomer begins where its server is, although another server is further in the same share', async t => {
  const pool = createPool()
  fill(pool, 12, { class: 'slow' })
  take(pool, apart.slow)
  fill(pool, 1, { class: 'fast', id: 'late' })
  take(pool, apart.fast)
  fill(pool, 9, { class: 'slow', user: 'new' })
  const users = Array.from({ length: 10 }, () => take(pool, apart.slow)?.user)
  t.equal(users.filter(user => user === 'new').length, 5, 'it takes turns')
})

t.test('newcomers without end do not hold up a user with jobs at another server', async t => {
  const pool = createPool()
  fill(pool, 1, { class: 'slow', user: 'first' })
  take(pool, apart.slow)
  fill(pool, 201, { class: 'fast', user: 'heavy' })
  for (let count = 0; count < 200; count++) take(pool, apart.fast)
  fill(pool, 3, { class: 'slow', user: 'heavy' })
  const users: unknown[] = []
  for (let count = 0; count < 40; count++) {
    fill(pool, 2, { class: 'slow', user: `new ${count}` })
    users.push(take(pool, apart.slow)?.user)
  }
  t.equal(users.filter(user => user === 'heavy').length, 3)
})

t.test('a user that leaves a server and returns there has no credit', async t => {
  const pool = createPool()
  fill(pool, 30, { class: 'slow', user: 'steady' })
  fill(pool, 4, { class: 'slow', user: 'returns' })
  for (let count = 0; count < 8; count++) take(pool, apart.slow)
  fill(pool, 60, { class: 'fast', user: 'steady' })
  for (let count = 0; count < 50; count++) take(pool, apart.fast)
  const users: unknown[] = []
  for (let count = 0; count < 12; count++) {
    fill(pool, 1, { class: 'slow', user: 'returns' })
    users.push(take(pool, apart.slow)?.user)
  }
  t.equal(users.filter(user => user === 'steady').length, 6)
})

t.test('jobs of the express list go first, in their order, and are never passed over', async t => {
  const pool = createPool()
  fill(pool, 5, { share: 'key', checkpoint: 'a' })
  const first = newJob(1, { share: 'key', list: expressList, checkpoint: 'b', order: 1 })
  const second = newJob(2, { share: 'key', list: expressList, checkpoint: 'a', order: 2 })
  enter(pool, second)
  enter(pool, first)
  t.equal(take(pool, { canRun: job => job !== first }), second, 'as far as the server can run them')
  t.equal(take(pool), first)
  t.equal(take(pool)?.list, 'key')
})

t.test('a server takes its loaded checkpoint, then one that no other server has, then the next job', async t => {
  const pool = createPool()
  const jobs = ['b', 'c', '', 'a'].map((checkpoint, index) => newJob(index, { checkpoint }))
  for (const job of jobs) arrive(pool, job)
  // The last jobs of a share are passed over twice at most.
  t.equal(take(pool, { own: 'a' }), jobs[2], 'a job that names none has the server\'s own')
  t.equal(take(pool, { loaded: 'x', held: new Map([['b', 1]]) }), jobs[1])
  t.same([take(pool), take(pool)], [jobs[0], jobs[3]], 'with its patience used up')
  fill(pool, 10, { checkpoint: 'b' })
  fill(pool, 1, { checkpoint: 'c' })
  t.equal(take(pool, { loaded: 'x', held: new Map([['b', 1], ['c', 1]]) })?.checkpoint, 'b')
})

t.test('another server helps with a checkpoint that has much work', async t => {
  const pool = createPool()
  fill(pool, 1, { checkpoint: 'c', ms: 1000 })
  fill(pool, 20, { checkpoint: 'b' })
  const held = new Map([['b', 1], ['c', 1]])
  t.equal(choose(pool, server({ held, loadSeconds: 60 }))?.job.checkpoint, 'c', '240 seconds are four loads')
  t.equal(choose(pool, server({ held, loadSeconds: 15 }))?.job.checkpoint, 'b', '240 seconds are sixteen loads')
})

t.test('a share pays for what its generations really took', async t => {
  const pool = createPool()
  fill(pool, 10, { share: 'a' })
  fill(pool, 10, { share: 'b' })
  const job = take(pool)
  if (job === null) throw new Error('There is a job.')
  settle(pool, job, 60, 12)
  const next = Array.from({ length: 5 }, () => take(pool)?.share)
  t.notOk(next.includes(job.share), 'it waits until the other had as much')
})

t.test('a share that was away has neither credit nor old debts', async t => {
  const pool = createPool()
  fill(pool, 3, { share: 'a' })
  sharesInOrder(pool)
  fill(pool, 50, { share: 'b' })
  for (let count = 0; count < 40; count++) take(pool)
  fill(pool, 10, { share: 'a' })
  const next = Array.from({ length: 10 }, () => take(pool)?.share)
  const turns = next.filter(share => share === 'a').length
  t.ok(turns === 5 || turns === 6, `${turns} of 10 turns`)
})

t.test('a cancelled job leaves the others as they are', async t => {
  const pool = createPool()
  const jobs = fill(pool, 3, {})
  leave(pool, jobs[1] as WaitingJob)
  t.same([take(pool)?.id, take(pool)?.id, take(pool)], [jobs[0]?.id, jobs[2]?.id, null])
})

const inBackground = (share: string) => ({ share: laneMark + share, list: laneMark + share })

t.test('the background waits behind every job that a server can run, whatever is loaded', async t => {
  const pool = createPool()
  const [small] = fill(pool, 200, { ...inBackground('key'), checkpoint: 'a' })
  fill(pool, 1, { share: 'key', list: 'key', checkpoint: 'b' })
  fill(pool, 1, { share: 'other', list: 'other', checkpoint: 'c', class: 'elsewhere', priority: 1 })
  const canRun = (job: WaitingJob) => job.class !== 'elsewhere'
  t.equal(take(pool, { canRun, loaded: 'a' })?.checkpoint, 'b', 'although that must be loaded')
  t.equal(take(pool, { canRun, loaded: 'a' }), small, 'one that it cannot run does not count')
  t.equal(take(pool, { loaded: 'a' })?.checkpoint, 'c')
})

t.test('work in the background costs the other jobs of its key nothing', async t => {
  const pool = createPool()
  fill(pool, 200, inBackground('busy'))
  for (let count = 0; count < 100; count++) take(pool)
  fill(pool, 5, { share: 'other', list: 'other' })
  fill(pool, 5, { share: 'busy', list: 'busy' })
  const shares = Array.from({ length: 10 }, () => take(pool)?.share)
  t.equal(shares.slice(0, 4).filter(share => share === 'busy').length, 2, 'they take turns from the beginning')
})

t.test('keys, weights and priorities divide the time in the background as elsewhere', async t => {
  const pool = createPool()
  shareOf(pool, `${laneMark}double`).weight = 2
  fill(pool, 60, inBackground('double'))
  fill(pool, 60, inBackground('single'))
  const urgent = fill(pool, 3, { ...inBackground('single'), priority: 10, user: 'urgent' })
  const first = Array.from({ length: 30 }, () => take(pool))
  const count = first.filter(job => job?.share === `${laneMark}double`).length
  t.ok(Math.abs(count - 20) <= 1, `${count} of 30`)
  t.ok(urgent.every(job => first.includes(job)))
})

t.test('jobs outside take no notice of what the background has reached', async t => {
  const pool = createPool()
  fill(pool, 50, inBackground('key'))
  for (let count = 0; count < 50; count++) take(pool)
  t.equal(pool.now, 0)
  t.equal(shareOf(pool, 'key').now, 0)
  t.ok(pool.background.now > 0)
})
