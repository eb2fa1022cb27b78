import { type Job, type QueueBase, type RedisQueueBackend, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { repeatEach, secondsUntilBeat } from '../src/lib/beat.ts'
import type { Keys } from '../src/lib/keys.ts'
import type { Log } from '../src/lib/logging.ts'
import { loadScript } from '../src/redis/scripts.ts'

/** Entries that are checked in one step. */
const page = 500
/** Smaller deviations, such as between the clocks of machines, are ignored; in milliseconds. */
const tolerance = 1000
/** How often a queue is checked, in seconds. */
const lookSeconds = 10

const findOverlong = loadScript<[delayed: string],
  [prefix: string, now: number, first: number, last: number, toleranceMs: number], [count: number, ...found: string[]]>(
  new URL('scripts/find-overlong.lua', import.meta.url))

/**
 * Lets no entry wait for longer than its own delay. BullMQ stores a timestamp by the clock of the process that adds an
 * entry; if that clock, or the clock of the process that takes it, is set back by an hour, a delay of two seconds would
 * take an hour.
 */
async function shortenDelays (queue: QueueBase, connection: Redis): Promise<void> {
  const backend = queue.getBackend() as RedisQueueBackend
  const late: Array<[id: string, delay: number]> = []
  for (let from = 0; ; from += page) {
    const [count, ...found] = await findOverlong(connection, [queue.toKey('delayed')],
      [queue.toKey(''), Date.now(), from, from + page - 1, tolerance])
    for (let index = 0; index < found.length; index += 2) late.push([found[index] ?? '', Number(found[index + 1])])
    if (count < page) break
  }
  // An entry that was removed meanwhile does not need it.
  for (const [id, delay] of late) await backend.changeDelay(id, delay).catch(() => undefined)
}

/** Does so while this process works on the queue. Returns the function that stops it. */
export function keepShortening (queue: QueueBase, connection: Redis, log: Log): () => void {
  let looking = false
  return repeatEach(lookSeconds, () => {
    if (looking) return
    looking = true
    shortenDelays(queue, connection)
      .catch(error => { log.debug({ queue: queue.name, err: error }, 'could not check delays') })
      .finally(() => { looking = false })
  })
}

/** How long BullMQ waits for an entry before it looks again, in seconds; an entry that arrives ends the wait. */
export const drainDelay = 10

/** Lets all workers of this process look again together: each wait ends with the same beat. */
export function waitTogether (worker: Pick<Worker, 'getBackend'>): void {
  const backend = worker.getBackend() as RedisQueueBackend
  const wait = backend.waitForJob.bind(backend)
  backend.waitForJob = async seconds => {
    // BullMQ would round up to whole seconds, as it does not ask Redis for its version.
    if (backend.blockingConnection !== undefined) backend.blockingConnection.capabilities.canDoubleTimeout = true
    return await wait(Math.min(seconds, secondsUntilBeat(drainDelay)))
  }
}

export interface QueueWork<Data> {
  readonly connection: Redis
  readonly keys: Keys
  readonly log: Log
  /** Name of the queue. */
  readonly name: string
  /** Number of jobs that run at the same time. */
  readonly atOnce: number
  readonly run: (job: Job<Data>, token?: string) => Promise<void>
  /** How long a job of a process that shows no sign of life stays with it, in seconds; 3 at least. */
  readonly lockSeconds?: number
  /** How often to look for jobs of such processes, in seconds. */
  readonly stalledSeconds?: number
  /** Pause after a failed attempt to get a job, in milliseconds. */
  readonly runRetryDelay?: number
}

/** A job is locked for longer again several times before its lock expires. */
const renewals = 3
/** By which a look for stalled jobs can come early, in milliseconds: BullMQ skips one that follows another too soon. */
const early = 500

/**
 * A BullMQ worker that does its repeated work in the beats of this process. BullMQ's own timers, four for each worker,
 * would wake an idle process one by one.
 * @returns the worker, and a function for the time after its end
 */
export function startQueueWorker<Data> (work: QueueWork<Data>): { worker: Worker<Data>, stopBeats: () => void } {
  const { connection, keys, log, name, atOnce, run, lockSeconds = 30, stalledSeconds = 30, runRetryDelay } = work
  /** Jobs that run, by the tokens of their locks. */
  const locked = new Map<string, string>()

  async function runLocked (job: Job<Data>, token = ''): Promise<void> {
    locked.set(token, job.id ?? '')
    await run(job, token).finally(() => { locked.delete(token) })
  }

  const worker = new Worker<Data>(name, runLocked, {
    connection,
    prefix: keys.bullPrefix,
    skipVersionCheck: true,
    concurrency: atOnce,
    maxStalledCount: 1000,
    drainDelay,
    lockDuration: lockSeconds * 1000,
    skipLockRenewal: true,
    skipStalledCheck: true,
    stalledInterval: stalledSeconds * 1000 - early,
    ...(runRetryDelay === undefined ? {} : { runRetryDelay })
  })
  const noteFailure = (error: unknown) => { log.debug({ queue: name, err: error }, 'worker connection') }
  worker.on('error', noteFailure)
  waitTogether(worker)

  function renewLocks (): void {
    if (locked.size === 0) return
    worker.extendJobLocks([...locked.values()], [...locked.keys()], lockSeconds * 1000).catch(noteFailure)
  }
  let looking = false
  function lookForStalled (): void {
    if (looking) return
    looking = true
    worker.getBackend().moveStalledJobsToWait().catch(noteFailure).finally(() => { looking = false })
  }
  lookForStalled()
  const stops = [repeatEach(Math.floor(lockSeconds / renewals), renewLocks), repeatEach(stalledSeconds, lookForStalled)]
  return { worker, stopBeats () { for (const stop of stops) stop() } }
}

export interface BackgroundWork<Data> extends Omit<QueueWork<Data>, 'run'> {
  /** The signal is aborted when the process is about to stop: another process continues the remaining work. */
  readonly run: (job: Job<Data>, closing: AbortSignal) => Promise<void>
}

/** A worker whose jobs can be interrupted and resumed by any number of processes. */
export function startBackgroundWorker<Data> (work: BackgroundWork<Data>): { close (): Promise<void> } {
  const { connection, log, run } = work
  const closing = new AbortController()
  const { worker, stopBeats } = startQueueWorker<Data>({
    ...work, run: async job => { await run(job, closing.signal) }
  })
  const stopShortening = keepShortening(worker, connection, log)
  return {
    async close () {
      closing.abort()
      stopShortening()
      const waiting = waitingConnection(worker)
      await worker.close(true)
      stopBeats()
      abandon(waiting)
    }
  }
}

/**
 * Closes a BullMQ worker once its running jobs finish, or abandons it at the deadline: without Redis it never finishes
 * closing, and the connection on which it waits for jobs would keep the process alive.
 * @param more work that it does not know of
 */
export async function closeWorker (
  worker: Worker, deadlineMs: number, more: ReadonlyArray<Promise<unknown>> = []
): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<void>(resolve => { timer = setTimeout(resolve, deadlineMs) })
  const waiting = waitingConnection(worker)
  await Promise.race([Promise.all([worker.close(), Promise.allSettled(more)]), deadline])
  clearTimeout(timer)
  abandon(waiting)
}

function waitingConnection (worker: Worker): RedisQueueBackend['blockingClient'] {
  return (worker.getBackend() as RedisQueueBackend).blockingClient
}

/**
 * BullMQ opens the connection on which a worker waits again if an answer is late. If the worker was closed meanwhile,
 * nobody closes that one, listens to its errors, or ends its attempts.
 */
function abandon (waiting: RedisQueueBackend['blockingClient']): void {
  waiting?.then(client => {
    client.on('error', () => {})
    client.on('connect', () => { client.disconnect(false) })
    client.disconnect(false)
  }, () => undefined)
}
