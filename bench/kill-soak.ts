import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { createKeys } from '../src/redis/keys.ts'
import { createRandom } from '../src/simulator/random.ts'
import { startSimulator } from '../src/simulator/simulator.ts'
import { createCaller } from './ground/caller.ts'
import { findProblems, readEvents, readJobs, type StreamEvent } from './ground/consistency.ts'
import { closeEverything, withGround, type Ground } from './ground/ground.ts'
import { launchService, startService, type ServiceProcess } from './ground/service.ts'
import { median } from './statistics.ts'

/**
 * Kills worker processes at random moments while jobs come in, and Redis in between, then counts what became of the
 * jobs: `node bench/kill-soak.mjs [kills of workers] [seed]`.
 */

/** Pauses between two kills are up to this long, in milliseconds. */
const longestPause = 4000
/** Jobs wait in line up to this number, so that there is always something to lose. */
const longestLine = 12

interface Kill {
  readonly what: 'serving worker' | 'standing-by worker' | 'Redis'
  /** It happened between these, in milliseconds since the epoch. */
  readonly from: number
  readonly to: number
}

/** @returns the exit code: 0 where nothing was lost, doubled or left inconsistent */
export async function main ([killCount = '60', seed = '7']: readonly string[]): Promise<number> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => { closeEverything().finally(() => process.exit(130)) })
  }
  return await withGround(async ground => await soak(ground, Number(killCount), createRandom(Number(seed))))
}

async function soak (ground: Ground, killCount: number, random: () => number): Promise<number> {
  const simulator = await startSimulator({ stepMilliseconds: 20, loadMilliseconds: 0 })
  ground.onClose(simulator.close)
  const servers = { Main: simulator.url }
  const api = await startService(ground, { command: 'api', servers })
  const startWorker = async () => await launchService(ground, { command: 'worker', servers })
  const workers = [await startWorker(), await startWorker()]
  const keys = createKeys('sq')
  ground.redis.on('error', () => {})
  const openJobs = async () => (await Promise.all(['pending', 'processing'].map(async status =>
    await ground.redis.zcard(keys.key('jobs', '*', '*', status))))).reduce((sum, count) => sum + count)

  const accepted: string[] = []
  const over = new AbortController()
  async function submitOn (): Promise<void> {
    const caller = createCaller(api.url)
    ground.onClose(caller.close)
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
  const noteEvents = async () => { events.push(...await readEvents({ look: ground.redis, keys }, events.at(-1)?.id)) }
  const kills: Kill[] = []
  const recoveries: number[] = []
  const workersKilled = () => kills.filter(({ what }) => what !== 'Redis').length
  while (workersKilled() < killCount) {
    await sleep(random() * longestPause)
    const kill = await killOne(ground, workers, random)
    kills.push(kill)
    if (kill.what !== 'Redis') workers[kill.index] = await startWorker()
    const begun = () => simulator.state().generations.find(({ startedAt }) => startedAt > kill.to)
    while (begun() === undefined) await sleep(5)
    const recovery = (begun()?.startedAt ?? 0) - kill.to
    recoveries.push(recovery)
    await noteEvents()
    process.stderr.write(`kill ${kills.length}: ${kill.what}, generating ${recovery} ms later\n`)
  }
  over.abort()
  await submitting
  while (await openJobs() > 0) await sleep(50)

  await noteEvents()

  const { generations, mostInFlight } = simulator.state()
  const traces = { look: ground.redis, keys, dataDirectory: ground.folder, events }
  const problems = await findProblems(accepted, traces)
  const jobs = await readJobs(traces)
  const excess = [...jobs.keys()].flatMap(id => {
    const starts = generations.filter(({ taskId }) => taskId === id).map(({ startedAt }) => startedAt)
    const hits = kills.filter(({ from, to }) => to >= (starts[0] ?? 0) && from <= (starts.at(-1) ?? 0))
    return starts.length > 1 + hits.length ? [{ id, starts, hits }] : []
  })
  const slowest = (what: Kill['what']) => {
    const times = recoveries.filter((_time, index) => kills[index]?.what === what)
    return times.length === 0 ? `${what}: none` : `${what}: ${times.length} kills, median ${median(times)} ms, most ${Math.max(...times)} ms`
  }
  const statuses = [...jobs.values()].map(({ status }) => status)
  process.stdout.write([
    `jobs accepted: ${accepted.length}; in Redis: ${jobs.size}; completed: ${statuses.filter(one => one === 'completed').length}`,
    `generations: ${generations.length}; jobs with more than 1 + kills that hit them: ${excess.length}`,
    `most generations at the server at once: ${mostInFlight}`,
    ...(['serving worker', 'standing-by worker', 'Redis'] as const).map(what => `kill to next generation, ${slowest(what)}`),
    `lost, ended twice or inconsistent: ${problems.length}`,
    ...problems,
    ...excess.map(one => JSON.stringify(one))
  ].join('\n') + '\n')
  return problems.length === 0 && excess.length === 0 ? 0 : 1
}

/** Kills a worker, or Redis, which this process starts again. */
async function killOne (
  ground: Ground, workers: readonly ServiceProcess[], random: () => number
): Promise<Kill & { readonly index: number }> {
  const index = random() < 0.4 ? -1 : Math.floor(random() * workers.length)
  const worker = workers[index]
  if (worker === undefined) {
    const [, pid] = /process_id:(\d+)/.exec(await ground.redis.info('server')) ?? []
    const from = Date.now()
    process.kill(Number(pid), 'SIGKILL')
    return { index, from, to: Date.now(), what: 'Redis' }
  }
  const what = await servesNow(ground, worker) ? 'serving worker' : 'standing-by worker'
  const from = Date.now()
  await worker.kill()
  return { index, from, to: Date.now(), what }
}

/** Whether the process was the last to begin a generation. */
async function servesNow ({ folder }: Ground, worker: ServiceProcess): Promise<boolean> {
  const log = await readFile(`${folder}/worker-${new URL(worker.url).port}.log`, 'utf8')
  return log.includes('generation started') && !log.includes('another process serves')
}
