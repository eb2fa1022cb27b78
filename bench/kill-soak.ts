import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { maxSends } from '../src/jobs/job.ts'
import { mediaFolders } from '../src/media/store.ts'
import { createKeys } from '../src/lib/keys.ts'
import { createRandom } from '../src/simulator/random.ts'
import { startSimulator, type Fault } from '../src/simulator/simulator.ts'
import { createCaller } from './environment/caller.ts'
import { findProblems, readEvents, readJobs, type StreamEvent } from '../test/support/consistency.ts'
import { closeEverything, pidOfRedis, withEnvironment, type Environment } from './environment/environment.ts'
import { launchService, startService, type ServiceProcess } from './environment/service.ts'
import { soakFleet } from './fleet-soak.ts'
import { median } from './statistics.ts'

/**
 * Kills worker processes at random times while jobs come in, and Redis in between, stops Redis and thaws it, fills the
 * disk and lets proxies time out, then counts the states of the jobs: `node bench/kill-soak.mjs [kills of workers]
 * [seed]` or `node bench/kill-soak.mjs --minutes 10 [--seed 7]`. With `--fleet` it does so with several servers; see
 * `fleet-soak.ts`.
 */

/** Pauses between two kills are up to this long, in milliseconds. */
const longestPause = 4000
/** Jobs wait in line up to this number, so that there is always something to lose. */
const longestLine = 12

/** Generations that the jobs may take where nothing dies: the default of JOB_ATTEMPTS. */
const attempts = 3
/** Longest time for which Redis is frozen and the disk is full, in milliseconds. */
const longestFreeze = 6000

/** Faults besides kills. */
const troubles: readonly Fault[] = [
  { kind: 'gateway-timeout', afterMilliseconds: 150, probability: 0.05, sticky: true },
  { kind: 'connection-cut', afterMilliseconds: 150, probability: 0.03, sticky: true },
  { kind: 'forbidden', probability: 0.02, sticky: true },
  { kind: 'proxy-away', probability: 0.02, count: 8, sticky: true },
  { kind: 'crash-mid', probability: 0.02, refuseMilliseconds: 300, sticky: true }
]

/** How long the soak of a fleet takes unless `--minutes` says otherwise. */
const fleetMinutes = 5

interface Kill {
  readonly what: 'serving worker' | 'standing-by worker' | 'Redis' | 'Redis frozen' | 'full disk'
  /** It happened between these, in milliseconds since the epoch. */
  readonly from: number
  readonly to: number
}

/** @returns the exit code: 0 where nothing was lost, doubled or left inconsistent */
export async function main (words: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      minutes: { type: 'string' }, seed: { type: 'string' }, fleet: { type: 'boolean' }, logs: { type: 'string' }
    }
  })
  const [killCount = '60', seed = '7'] = positionals
  const endsAt = values.minutes === undefined ? Infinity : performance.now() + Number(values.minutes) * 60_000
  const kills = values.minutes === undefined ? Number(killCount) : Infinity
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => { closeEverything().finally(() => process.exit(130)) })
  }
  const random = createRandom(Number(values.seed ?? seed))
  process.stdout.write(`seed ${values.seed ?? seed}\n`)
  if (values.fleet === true) {
    const fleetEndsAt = Number.isFinite(endsAt) ? endsAt : performance.now() + fleetMinutes * 60_000
    return await withEnvironment(async environment =>
      await soakFleet(environment, { endsAt: fleetEndsAt, random, logs: values.logs ?? null }))
  }
  return await withEnvironment(async environment => await soak(environment, { kills, endsAt }, random))
}

/** When the soak is over. */
interface Length {
  readonly kills: number
  /** By the monotonic clock. */
  readonly endsAt: number
}

async function soak (environment: Environment, length: Length, random: () => number): Promise<number> {
  const simulator = await startSimulator({ stepMilliseconds: 20, loadMilliseconds: 0, faults: troubles })
  environment.onClose(simulator.close)
  const servers = { Main: simulator.url }
  const api = await startService(environment, { command: 'api', servers })
  const startWorker = async () => await launchService(environment, { command: 'worker', servers })
  const workers = [await startWorker(), await startWorker()]
  const keys = createKeys('sq')
  environment.redis.on('error', () => {})
  const openJobs = async () => (await Promise.all(['pending', 'processing'].map(async status =>
    await environment.redis.zcard(keys.key('jobs', '*', '*', status))))).reduce((sum, count) => sum + count)

  const accepted: string[] = []
  const over = new AbortController()
  async function submitOn (): Promise<void> {
    const caller = createCaller(api.url)
    environment.onClose(caller.close)
    for (let number = 0; !over.signal.aborted; await sleep(50)) {
      if (await openJobs() >= longestLine) continue
      const parameters = { prompt: `number ${number}`, steps: 5 + Math.floor(random() * 40), width: 64, height: 64 }
      const answer = await caller.post('/api/v2/generate', { target_server_alias: 'Main', generation_params: parameters })
        .catch(() => null) as { id: string } | null
      if (answer === null) continue
      accepted.push(answer.id)
      number++
    }
  }
  const submitting = submitOn()

  const events: StreamEvent[] = []
  const noteEvents = async () => {
    events.push(...await readEvents({ look: environment.redis, keys }, events.at(-1)?.id))
  }
  const kills: Kill[] = []
  const recoveries: number[] = []
  const workersKilled = () => kills.filter(({ what }) => what.endsWith('worker')).length
  while (workersKilled() < length.kills && performance.now() < length.endsAt) {
    await sleep(random() * longestPause)
    // One that was started just when the disk was full has ended by itself.
    for (const [index, worker] of workers.entries()) if (!worker.isRunning()) workers[index] = await startWorker()
    const kill = await killOne(environment, workers, random)
    kills.push(kill)
    if (kill.what.endsWith('worker')) workers[kill.index] = await startWorker()
    const begun = () => simulator.state().generations.find(({ startedAt }) => startedAt > kill.to)
    while (begun() === undefined) await sleep(5)
    const recovery = (begun()?.startedAt ?? 0) - kill.to
    recoveries.push(recovery)
    await noteEvents()
    process.stderr.write(`kill ${kills.length}: ${kill.what}, generating ${recovery} ms later\n`)
  }
  over.abort()
  await submitting
  simulator.setFaults([])
  while (await openJobs() > 0) await sleep(50)

  await noteEvents()

  const { generations, maxInFlight, sends, crashes } = simulator.state()
  const traces = { look: environment.redis, keys, dataDirectory: environment.folder, events }
  const problems = await findProblems(accepted, traces)
  const jobs = await readJobs(traces)
  const tooOften = [...jobs.values()].flatMap(job => {
    const bound = maxSends(job, attempts)
    const sent = Math.max(sends[job.id] ?? 0, job.sends)
    return sent > bound ? [`${job.id} was sent ${sent} times and may be sent ${bound} times`] : []
  })
  const maxSent = Math.max(0, ...Object.values(sends))
  const slowest = (what: Kill['what']) => {
    const times = recoveries.filter((_time, index) => kills[index]?.what === what)
    return times.length === 0 ? `${what}: none` : `${what}: ${times.length} kills, median ${median(times)} ms, most ${Math.max(...times)} ms`
  }
  const statuses = [...jobs.values()].map(({ status }) => status)
  process.stdout.write([
    `jobs accepted: ${accepted.length}; in Redis: ${jobs.size}; completed: ${statuses.filter(one => one === 'completed').length}`,
    `failed: ${statuses.filter(one => one === 'failed').length}; crashes of the server: ${crashes}`,
    `generations: ${generations.length}; most sends of one job: ${maxSent}; sent more often than allowed: ${tooOften.length}`,
    `most generations at the server at once: ${maxInFlight}`,
    ...(['serving worker', 'standing-by worker', 'Redis', 'Redis frozen', 'full disk'] as const).map(what => `kill to next generation, ${slowest(what)}`),
    `lost, ended twice or inconsistent: ${problems.length}`,
    ...problems,
    ...tooOften
  ].join('\n') + '\n')
  return problems.length === 0 && tooOften.length === 0 ? 0 : 1
}

/** Kills a worker, or Redis, which this process starts again; or freezes Redis, or fills the disk. */
async function killOne (
  environment: Environment, workers: readonly ServiceProcess[], random: () => number
): Promise<Kill & { readonly index: number }> {
  const index = random() < 0.4 ? -1 : Math.floor(random() * workers.length)
  const worker = workers[index]
  const from = Date.now()
  if (worker === undefined) {
    const pid = await pidOfRedis(environment)
    const kind = random()
    if (kind < 0.4) {
      process.kill(pid, 'SIGKILL')
      return { index, from, to: Date.now(), what: 'Redis' }
    }
    const milliseconds = random() * longestFreeze
    if (kind < 0.7) {
      process.kill(pid, 'SIGSTOP')
      await sleep(milliseconds).finally(() => { process.kill(pid, 'SIGCONT') })
      return { index, from, to: Date.now(), what: 'Redis frozen' }
    }
    await withoutRoom(environment, async () => { await sleep(milliseconds) })
    return { index, from, to: Date.now(), what: 'full disk' }
  }
  const what = await servesNow(environment, worker) ? 'serving worker' : 'standing-by worker'
  await worker.kill()
  return { index, from, to: Date.now(), what }
}

/** A file in the place of the folder for outputs fails every write there, as a full disk does, for root too. */
async function withoutRoom ({ folder }: Environment, work: () => Promise<void>): Promise<void> {
  const { outputs } = mediaFolders(folder)
  await rename(outputs, `${outputs}.away`)
  await writeFile(outputs, '')
  await work().finally(async () => {
    await rm(outputs)
    await rename(`${outputs}.away`, outputs)
  })
}

/** Whether the process was the last to begin a generation. */
async function servesNow ({ folder }: Environment, worker: ServiceProcess): Promise<boolean> {
  const log = await readFile(`${folder}/worker-${new URL(worker.url).port}.log`, 'utf8')
  return log.includes('generation started') && !log.includes('another process serves')
}
