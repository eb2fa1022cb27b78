import { setTimeout as sleep } from 'node:timers/promises'
import { hasEnded } from '../schemas/job.ts'
import { createKeys } from '../src/lib/keys.ts'
import { createRandom } from '../src/simulator/random.ts'
import { readJobs } from '../test/support/consistency.ts'
import { readEvents } from './environment/event-reader.ts'
import { closeEverything, withEnvironment, type Environment } from './environment/environment.ts'
import { submission } from './environment/ordinary.ts'
import { launchService, startService, type ServiceProcess } from './environment/service.ts'
import { until } from './environment/until.ts'
import { startUpstream } from './environment/upstream.ts'

/**
 * Cuts listeners off and kills API processes again and again while jobs come and go, then counts the ends that each
 * listener missed: `node bench/reconnects.mjs [reconnects] [seed]`.
 */

const listenerCount = 20
/** Longest time that a listener stays, and that an API process lives, in milliseconds. */
const longestStay = 300
const longestLife = 8000
/** Time for a connection to be answered, in milliseconds. */
const longestAnswer = 10_000
const servers = (url: string) => ({ Main: url })

/** A continuous listener, and the events that it received of each job. */
interface Listener {
  reconnects: number
  resets: number
  lastEventId: string
  readonly ends: Map<string, number>
}

/** @returns the exit code: 0 if no end was missed or sent twice */
export async function main ([reconnects = '1000', seed = '7']: readonly string[]): Promise<number> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => { closeEverything().finally(() => process.exit(130)) })
  }
  return await withEnvironment(async environment =>
    await run(environment, Number(reconnects), createRandom(Number(seed))))
}

async function run (environment: Environment, wanted: number, random: () => number): Promise<number> {
  const upstream = await startUpstream(environment, { kind: 'instant', options: { milliseconds: 20 } })
  const startApi = async () => await startService(environment, { command: 'api', servers: servers(upstream.url) })
  const apis: ServiceProcess[] = [await startApi(), await startApi()]
  await (await launchService(environment, { command: 'worker', servers: servers(upstream.url) })).logged('worker is up')
  const listeners: Listener[] = Array.from({ length: listenerCount }, () =>
    ({ reconnects: 0, resets: 0, lastEventId: '', ends: new Map<string, number>() }))
  const over = new AbortController()
  let restarts = 0
  const someApi = () => apis[Math.floor(random() * apis.length)]?.url ?? ''
  const made = () => listeners.reduce((sum, { reconnects }) => sum + reconnects, 0)

  /** Listens once, until it is cut off by us or by the end of the process. */
  async function listen (listener: Listener, stay: number): Promise<void> {
    let cut: NodeJS.Timeout | undefined
    const address = `${someApi()}/api/v1/events?kinds=completed,failed,cancelled`
    const reader = readEvents(address, listener.lastEventId, ({ id, kind, job_id: jobId, status }) => {
      // From here on: a process that has only just begun takes its time to answer.
      if (kind === 'ready') cut = setTimeout(reader.close, stay)
      if (id !== null) listener.lastEventId = id
      if (kind === 'reset') listener.resets++
      if (jobId !== null && status !== null && kind === status && hasEnded(status)) {
        listener.ends.set(jobId, (listener.ends.get(jobId) ?? 0) + 1)
      }
    })
    const patience = setTimeout(reader.close, longestAnswer)
    try {
      await reader.ended
      listener.reconnects++
      if (made() % 100 === 0) process.stderr.write(`${made()} reconnects, ${restarts} restarts\n`)
    } catch {
      // No process there just now.
      await sleep(50)
    } finally {
      clearTimeout(cut)
      clearTimeout(patience)
    }
  }

  async function restartApis (): Promise<void> {
    for (let index = 0; !over.signal.aborted; index = (index + 1) % apis.length) {
      await sleep(random() * longestLife)
      const old = apis[index]
      // By turns in order and as a power cut would.
      await (restarts++ % 2 === 0 ? old?.stop() : old?.kill())
      apis[index] = await startApi()
    }
  }

  const { caller } = await startApi()
  async function submitOn (): Promise<void> {
    while (!over.signal.aborted) {
      await caller.post('/api/v2/generate', submission('Main'))
      await sleep(100)
    }
  }

  // Whoever begins after the first job would rightly not hear of it.
  for (const listener of listeners) await listen(listener, 500)
  const work = [restartApis(), submitOn()]
  await Promise.all(listeners.map(async listener => {
    while (made() < wanted) await listen(listener, random() * longestStay)
  }))
  over.abort()
  await Promise.all(work)

  const keys = createKeys('sq')
  let ended: string[] = []
  await until(async () => {
    const jobs = [...(await readJobs({ look: environment.redis, keys })).values()]
    ended = jobs.filter(({ status }) => hasEnded(status)).map(({ id }) => id)
    return ended.length === jobs.length
  }, 'all jobs have ended')
  for (const listener of listeners) await listen(listener, 3000)
  const missed = listeners.reduce((sum, { ends }) => sum + ended.filter(id => !ends.has(id)).length, 0)
  const twice = listeners.reduce((sum, { ends }) => sum + [...ends.values()].filter(count => count > 1).length, 0)
  const resets = listeners.reduce((sum, listener) => sum + listener.resets, 0)
  process.stdout.write(`${made()} reconnects of ${listenerCount} listeners, ${restarts} restarts of the API, ` +
    `${ended.length} jobs, ${ended.length * listenerCount} ends to hear:\n` +
    `missed ${missed}, sent twice ${twice}, resets ${resets}\n`)
  return missed === 0 && twice === 0 ? 0 : 1
}
