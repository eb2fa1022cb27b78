import t from 'tap'
import { usualPatience } from '../../src/jobs/claim-rule.ts'
import {
  createLateness, type ForecastJob, type ForecastServer, noNewcomers, type PoolSnapshot, type Prediction, runForward
} from '../../src/jobs/forecast.ts'
import { expectNewcomers } from '../../src/jobs/read-pool.ts'
import { whyNever } from '../../src/jobs/waiting-for.ts'
import { atOnce } from '../../src/lib/breaks.ts'
import { type CostModel, newCostModel } from '../../src/servers/cost-model.ts'
import { createRandom } from '../../src/simulator/random.ts'
import { newJob, runFleet, zipf } from './fleet.ts'

/** The forecast of a pool, without Redis. */
const loadSeconds = 15

/** A server that takes one second for each evaluation, divided by its speed. */
function modelOf (speed = 1): CostModel {
  return { ...newCostModel(), samples: 50, costs: [0, 1 / speed, 0, loadSeconds / speed] }
}

function forecastJob (index: number, facts: Partial<ForecastJob> = {}): ForecastJob {
  const job = newJob(index, { order: index, ...facts })
  return { ...job, workload: { evaluations: job.ms / 1000, megapixels: 0, checkpoint: job.checkpoint } }
}

function forecastServer (id: string, facts: Partial<ForecastServer> = {}): ForecastServer {
  return {
    id, model: modelOf(), free: 0, loaded: `none ${id}`, own: '', loadSeconds, canRun: () => true, claimed: [], ...facts
  }
}

function forecast (
  jobs: readonly ForecastJob[], servers: readonly ForecastServer[], facts: Partial<PoolSnapshot> = {}
) {
  const snapshot = {
    now: 0,
    laneNow: 0,
    shares: [],
    jobs,
    preview: null,
    newcomers: noNewcomers,
    waiting: jobs.length,
    servers,
    patience: usualPatience,
    lateness: 1.28
  }
  return atOnce(runForward({ ...snapshot, ...facts }))
}

t.test('jobs begin when and where the fleet begins them, if nothing else arrives', async t => {
  const random = createRandom(1)
  const plan = Array.from({ length: 200 }, (_, index) => ({
    at: 0, share: index % 3 === 0 ? 'one' : 'other', checkpoint: zipf(6, random), seconds: 5 + Math.floor(random() * 10)
  }))
  const { runs } = runFleet(plan, [{}, {}, { speed: 2 }])
  const orders = new Map<string, number>()
  const jobs = plan.map(({ share, checkpoint, seconds }, index) => {
    orders.set(share, (orders.get(share) ?? 0) + seconds)
    const order = orders.get(share) ?? 0
    return forecastJob(index, { share, list: share, checkpoint, class: checkpoint, ms: seconds * 1000, order })
  })
  const servers = ['0', '1', '2'].map(id =>
    forecastServer(id, { model: modelOf(id === '2' ? 2 : 1), loadSeconds: id === '2' ? loadSeconds / 2 : loadSeconds }))
  const { jobs: predicted } = forecast(jobs, servers)
  for (const [position, { job, start, end, server }] of runs.entries()) {
    const { startsIn, endsIn, serverId } = predicted.get(job.id) ?? {}
    if (position % 20 !== 0) continue
    t.ok(Math.abs((startsIn ?? NaN) - start) < 1e-6, `number ${position} begins after ${start} seconds`)
    t.ok(Math.abs((endsIn ?? NaN) - end) < 1e-6, 'and ends in time')
    t.equal(serverId, String(server))
  }
  t.equal(predicted.size, 200)
})

t.test('positions are the ranks of the expected begins', async t => {
  const jobs = [forecastJob(0), forecastJob(1, { class: 'slow' }), forecastJob(2)]
  const { jobs: found } = forecast(jobs, [
    forecastServer('free', { canRun: job => job.class !== 'slow' }),
    forecastServer('busy', { free: 100, canRun: job => job.class === 'slow' })
  ])
  t.same(jobs.map(({ id }) => found.get(id)?.position), [1, 3, 2])
  t.same(jobs.map(({ id }) => found.get(id)?.startsIn), [0, 100, 12])
})

t.test('a server first runs what it has claimed, from when it is free', async t => {
  const [claimed, next] = [forecastJob(7), forecastJob(1)]
  const { jobs } = forecast([next], [forecastServer('one', { free: 5, claimed: [claimed] })])
  t.match(jobs.get(claimed.id), { startsIn: 5, endsIn: 17, position: 1 })
  t.match(jobs.get(next.id), { startsIn: 17, endsIn: 29, position: 2, serverId: 'one' })
})

t.test('loading a checkpoint counts', async t => {
  const jobs = [forecastJob(0, { checkpoint: 'a' }), forecastJob(1, { checkpoint: 'b' }), forecastJob(2)]
  const { jobs: found } = forecast(jobs, [forecastServer('one', { loaded: 'a', own: 'a' })])
  t.match(jobs.map(({ id }) => found.get(id)?.endsIn), [12, 12 + 12 + 15 + 12, 24])
})

t.test('jobs that are expected to arrive take their turns, and are not among the answers', async t => {
  const jobs = Array.from({ length: 6 }, (_, index) => forecastJob(index, { order: 12 * (index + 1) }))
  const urgent = forecastJob(9, { weight: 2 })
  const newcomers = { jobs: [urgent], count: 100, interval: 12 }
  const { jobs: found } = forecast(jobs, [forecastServer('one')], { newcomers })
  t.same([...found.keys()], jobs.map(({ id }) => id))
  // Their weight gives newcomers two turns for one.
  t.same(jobs.map(({ id }) => found.get(id)?.startsIn).slice(0, 3), [0, 24, 60])
  const doubt = (count: number) => {
    const { endsIn = 0, endsInP90 = 0 } =
      forecast(jobs, [forecastServer('one')], { newcomers: { ...newcomers, count } }).jobs.get('000005') ?? {}
    return endsInP90 - endsIn
  }
  t.ok(doubt(4) > doubt(0) + 12, 'how many will arrive is uncertain')
  t.ok(doubt(8) > 2 * doubt(4), 'the more so the more of the wait is due to them')
  const few = forecast(jobs, [forecastServer('one')], { newcomers: { ...newcomers, count: 2 } }).jobs
  t.equal(few.get('000005')?.endsIn, 8 * 12, 'two of them make the last job wait for two more')
  const later = forecast([forecastJob(0, { class: 'slow' })], [
    forecastServer('idle', { canRun: job => job.class !== 'slow' }),
    forecastServer('busy', { free: 100, canRun: job => job.class === 'slow' })
  ], { newcomers }).jobs
  t.equal(later.get('000000')?.startsIn, 100, 'those of another server change nothing')
})

t.test('a job that would arrive now stands where its weight and its user put it', async t => {
  const jobs = Array.from({ length: 6 }, (_, index) => forecastJob(index, { order: 12 * (index + 1) }))
  const preview = forecastJob(9, { weight: 2 })
  const position = (facts: Partial<ForecastJob>) =>
    forecast(jobs, [forecastServer('one')], { preview: { ...preview, ...facts } }).jobs.get(preview.id)?.position
  t.equal(position({}), 1)
  t.equal(position({ weight: 1 }), 7)
  t.equal(position({ weight: 1, user: 'other' }), 2, 'another user of the share takes turns')
})

t.test('what arrived lately is expected again, except its bursts', async t => {
  const now = 1_000_000
  const arrival = (secondsAgo: number, share = 'key') => `${now - secondsAgo * 1000}|aaaaaaaa-x|12000|2|${share}|20:5:aaaaaaaa|u|1`
  const steady = Array.from({ length: 60 }, (_, index) => arrival(index * 10 + 5))
  const { jobs, count, interval } = expectNewcomers(steady, 300, now)
  t.equal(count, 60)
  t.equal(interval, 10)
  t.match(jobs[0], {
    share: 'key',
    list: 'key',
    user: 'u|1',
    weight: 2,
    class: 'aaaaaaaa-x',
    checkpoint: 'aaaaaaaa',
    ms: 12000,
    workload: { evaluations: 20, megapixels: 5, checkpoint: 'aaaaaaaa' }
  })
  const batch = Array.from({ length: 80 }, () => arrival(3, 'batch'))
  t.same(expectNewcomers(batch, 300, now), noNewcomers)
  const both = expectNewcomers([...batch, ...steady], 300, now)
  t.ok(both.count > 55 && both.count <= 60, 'the batch counts no more than what came at other times')
  t.ok(both.jobs.filter(({ share }) => share === 'batch').length <= 5)
  t.equal(expectNewcomers(steady, 300, now + 3_600_000).count, 0, 'old arrivals are forgotten')
  t.equal(expectNewcomers(steady, 0, now).count, 0, 'nothing waits')
  t.equal(expectNewcomers(steady.slice(0, 3), 15, now).count, 3, 'a few in as many parts are a stream')
})

t.test('jobs that no server can run, and those behind all that were read', async t => {
  const jobs = [forecastJob(0, { class: 'nowhere' }), forecastJob(1)]
  const { jobs: found, beyond } = forecast(jobs, [forecastServer('one', { canRun: job => job.class !== 'nowhere' })])
  t.same([...found.keys()], ['000001'])
  t.match(beyond(4), { position: 3, startsIn: 24, endsIn: 36 }, 'as many more as the mean of those that were read')
  t.match(beyond(1), { position: 1, startsIn: 0, endsIn: 12 }, 'or as one of those')
  t.equal(forecast([], []).beyond(5), null)
})

t.test('a server without samples takes as long as a job is expected to take anywhere', async t => {
  const job = forecastJob(0, { ms: 9000 })
  t.equal(forecast([job], [forecastServer('new', { model: newCostModel() })]).jobs.get(job.id)?.endsIn, 9)
})

t.test('nine of ten jobs end before the later time', async t => {
  const random = createRandom(5)
  const noisy = () => 1 + (random() + random() + random() - 1.5) * 0.6
  const recent = Array.from({ length: 48 }, () =>
    ({ workload: { evaluations: 12, megapixels: 0, checkpoint: '' }, loaded: '', seconds: 12 * noisy() }))
  const jobs = Array.from({ length: 40 }, (_, index) => forecastJob(index))
  const model = { ...modelOf(), recent }
  const lateness = createLateness()
  let [inTime, all] = [0, 0]
  for (let trial = 0; trial < 100; trial++) {
    const { jobs: found } = forecast(jobs, [forecastServer('one', { model })], { lateness: lateness.deviations('quiet') })
    let clock = 0
    for (const { id } of jobs) {
      const said = found.get(id) as Prediction
      lateness.note('quiet', said, clock)
      clock += 12 * noisy()
      all++
      if (clock <= said.endsInP90) inTime++
    }
  }
  t.ok(inTime / all > 0.85 && inTime / all < 0.95, `${inTime} of ${all}`)
})

t.test('if jobs waited longer than predicted lately, later ones are expected to', async t => {
  const lateness = createLateness()
  const note = (startsIn: number, waited: (count: number) => number) => {
    for (let count = 0; count < 200; count++) lateness.note('newcomers', { startsIn, deviation: 10 }, waited(count))
  }
  note(100, count => 100 + count)
  t.equal(lateness.deviations('newcomers'), 18.5)
  t.equal(lateness.deviations('quiet'), 1.7, 'what was said without newcomers is another matter')
  note(0.5, () => 50)
  t.equal(lateness.deviations('newcomers'), 18.5, 'short waits say nothing')
  note(100, () => 90)
  t.equal(lateness.deviations('newcomers'), 0, 'the later time is never earlier than the other one')
  const jobs = Array.from({ length: 10 }, (_, index) => forecastJob(index))
  const last = (deviations: number) =>
    forecast(jobs, [forecastServer('one')], { lateness: deviations }).jobs.get('000009')
  t.equal(last(0)?.endsInP90, last(0)?.endsIn)
  t.equal(last(2)?.endsInP90, (last(0)?.endsIn ?? 0) + 2 * (last(0)?.deviation ?? 0))
})

t.test('without a time there is a reason', async t => {
  const one = (condition: 'open' | 'paused' | 'down' | 'draining' | 'off') => [{ alias: 'one', condition }]
  const common = { able: [], checkpoint: null, processes: true }
  t.equal(whyNever({ ...common, able: one('open') }), null)
  t.equal(whyNever({ ...common, checkpoint: 'x' }), 'No server has "x".')
  t.equal(whyNever({ ...common, able: one('down'), checkpoint: 'x' }), 'No server that has "x" is up.')
  t.equal(whyNever({ ...common, able: one('paused') }), 'Every server that can run it is paused.')
  t.equal(whyNever({ ...common, able: [...one('paused'), ...one('down')] }), 'No server that can run it takes jobs now.')
  t.equal(whyNever({ ...common, able: one('paused'), target: 'one' }), 'The server "one" is paused.')
  t.equal(whyNever({ ...common, able: one('draining'), target: 'one' }), 'The server "one" takes no more jobs.')
  t.equal(whyNever({ ...common, target: 'one' }), 'The server "one" lacks what it needs.')
  t.equal(whyNever({ ...common, target: null }), 'The server that it names was removed.')
  t.equal(whyNever({ ...common, able: one('open'), processes: false }), 'All queues are paused.')
})
