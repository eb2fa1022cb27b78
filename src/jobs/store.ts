import type { Redis } from 'ioredis'
import type { EndStatus } from '../../schemas/job.ts'
import { ServiceError } from '../lib/errors.ts'
import { parseJsonText, stringifyJson, stringifyKeepingFloats } from '../lib/exact-json.ts'
import type { Keys } from '../lib/keys.ts'
import { createRedisClock } from '../redis/scripts.ts'
import { RedisSilence, redisProblemOf } from '../redis/errors.ts'
import {
  firstLane, indexKey, type Job, type JobAttempt, type JobError, type JobProgress, type JobResult, type JobSubmission,
  laneOf, laneOfReturn, packSubmission, parseJob
} from './job.ts'
import { type QueueEntry, type QueuePort, readEntries } from './queue-entries.ts'
import {
  endJob, forgetOutput, loadQueueScripts, noteProgress, removeJob, startJob
} from './scripts/index.ts'
import type { Subscription } from './webhook-request.ts'
import { packWorkload, workloadOf } from './workload.ts'

/** A new job, before it has a position. */
export interface NewJob {
  readonly id: string
  readonly serverId: string
  readonly keyId: string | null
  /** 1 to 10, 10 first. */
  readonly priority: number
  readonly bulkId: string | null
  readonly submission: JobSubmission
  /** Jobs that are submitted together, all or none: the first reserves space for all. Only this job if omitted. */
  readonly group?: { readonly id: string, readonly size: number }
  /** The subscriber to its events. */
  readonly webhook?: Subscription | null
}

/** The right to report on one run: a report under another run or owner is refused. */
export interface RunClaim {
  readonly id: string
  readonly run: number
  readonly serverId: string
  /** Names the worker process, its lease of the server and this run, so that it is unique. */
  readonly owner: string
}

export type CancelOutcome = 'cancelled' | 'requested'

export interface JobStore {
  /** Creates record, indexes, position and queue entry in one step. An existing job stays as it is. */
  /** @throws ServiceError `queue_limit_reached` */
  create (job: NewJob): Promise<Created>
  /** @throws ServiceError `job_not_found` */
  get (id: string): Promise<Job>
  find (id: string): Promise<Job | null>
  /** In the requested order; missing jobs are left out. */
  readMany (ids: readonly string[]): Promise<Job[]>
  /** Position in the queue of its server, from 1; null if it is in none. */
  position (job: Pick<Job, 'id' | 'serverId'>): Promise<number | null>
  waitingOn (serverId: string): Promise<number>
  /** Ids of the jobs in a server's queue from index `from` to `to`, counted from 0 and both included. */
  line (serverId: string, from: number, to: number): Promise<string[]>
  /** Id of the key that owns the job which made an output; undefined if no known job made it. */
  ownerOfOutput (name: string): Promise<string | null | undefined>
  /** The job that made an output; null if no known job made it. */
  jobOfOutput (name: string): Promise<Job | null>
  /** Removes one image from a job's result. @throws ServiceError `image_not_found` */
  forgetOutput (id: string, name: string): Promise<void>
  /** The jobs that a server runs, by the records. */
  running (serverId: string): Promise<Job[]>
  /** The entries that BullMQ's queue must hold for the jobs from index `from` to `to` of a server's queue. */
  entries (serverId: string, from: number, to: number): Promise<QueueEntry[]>

  /** `lease_lost`: the lease under this fence is over; another process serves the server. */
  start (claim: RunClaim, fence: number): Promise<'started' | 'superseded' | 'lease_lost'>
  /** Without progress it only checks whether the run is still wanted. */
  noteProgress (claim: RunClaim, progress: JobProgress | null): Promise<'noted' | 'cancel' | 'superseded'>
  /** The final status of the job, or null if the claim no longer holds. */
  end (claim: RunClaim, status: EndStatus, outcome: JobOutcome): Promise<EndStatus | null>
  /** Returns a running job to the queue, or fails it if it was sent as often as allowed. */
  giveBack (claim: RunClaim, options: GiveBack): Promise<GivenBack>

  /** @throws ServiceError `job_not_found`, or `job_operation_invalid` for a finished job */
  cancel (id: string): Promise<CancelOutcome>
  /**
   * @throws ServiceError `job_not_found`, or `job_operation_invalid` for a job that neither failed nor was cancelled
   */
  retry (id: string): Promise<void>
  /** Moves it to the front of the queue. @throws ServiceError as `move` */
  runNow (id: string): Promise<void>
  /** Moves it behind all waiting jobs of another priority, 1 to 10. @throws ServiceError as `move` */
  prioritise (id: string, priority: number): Promise<void>
  /**
   * Moves it right ahead of another job of the same queue. Jobs of equal rank before that one enter again, in their
   * order.
   * @throws ServiceError as `move`, or `invalid_field_value` if the other job does not wait in the same queue
   */
  moveAhead (id: string, otherId: string): Promise<void>
  /**
   * Moves it to another server's queue. @throws ServiceError `job_not_found`, or `job_operation_invalid` unless it
   * waits
   */
  move (id: string, serverId: string): Promise<void>
  /** Gives a waiting job a new queue entry if the old one is lost or stuck with a dead worker. */
  renewEntry (job: QueueEntry): Promise<void>
  /** Deletes a finished job. @throws ServiceError `job_not_found`, or `job_operation_invalid` while it is active */
  remove (id: string): Promise<Job>
}

/** A new job's position in the queue, from 1, and its timestamp; or the existing job with this id. */
export type Created =
  | { readonly existing: null, readonly position: number, readonly createdAt: number }
  | { readonly existing: Job }

export interface JobOutcome {
  readonly result?: JobResult
  readonly error?: JobError
  readonly attempts?: readonly JobAttempt[]
}

/** `lease_lost`: the named lease is over; another process serves the server. */
export type GivenBack = 'returned' | 'cancelled' | 'spent' | 'superseded' | 'lease_lost'

export interface GiveBack {
  /**
   * The failed attempts, appended to the job's history; the job fails with the last one if it must not be sent again.
   */
  readonly attempts: readonly JobAttempt[]
  /** Whether this counts against the allowed attempts (1) or not (0). */
  readonly usedAttempts: 0 | 1
  /** Whether the server went away under it (1) or not (0). */
  readonly crashes: 0 | 1
  readonly delayMs: number
  /** Only under this lease of the server, if another process than the run's own returns the job. */
  readonly fence?: number
  /**
   * What happened to the server. `gone`: it does not answer its probes either, so one more generation is allowed.
   * `unsent`: the request never reached it. `stopped`: this service stopped it in an orderly way.
   */
  readonly disposition: 'answers' | 'gone' | 'unsent' | 'stopped'
  /** Generations that a job can take if no server dies. */
  readonly maxAttempts: number
}

export interface JobStoreDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly queue: QueuePort
  /** How long the connection waits for an answer, in milliseconds; a job is not created later than that. */
  readonly commandLimit?: number
  /** Waiting jobs that one access key can have; no limit if omitted. */
  readonly waitingPerKey?: number
}

/** The destination of a waiting job. */
interface Move {
  readonly serverId: string
  readonly lane: number | 'first'
  /** Only if this run waits. */
  readonly expectedRun?: number
  readonly priority?: number
}

/** Records that are read at once during a walk through a queue. */
const entriesAtOnce = 200

/** The error of a job that was begun as often as allowed although no attempt was recorded. */
const sentTooOften: JobError = {
  code: 'worker_lost', message: 'Its generation was given up repeatedly.', failureClass: 'internal'
}

const outputNames = (result: JobResult | null | undefined) => (result?.images ?? []).map(({ name }) => name)

/** @param most waiting jobs that the key can have */
export function tooManyWaiting (waiting: number, most: number | undefined): ServiceError {
  return new ServiceError('queue_limit_reached', `This key has ${waiting} waiting jobs and can have ${most}; wait for ` +
    'some of them to start.', { waiting, limit: most })
}

/** The only module that reads and writes job records. */
export function createJobStore (dependencies: JobStoreDependencies): JobStore {
  const { redis, keys, queue, commandLimit, waitingPerKey } = dependencies
  const { createJob, cancelJob, returnJob, retryJob, moveJob } = loadQueueScripts(queue.entriesLua)
  const prefix: [string] = [keys.key('')]
  const clock = createRedisClock(redis)
  const jobKey = (id: string) => keys.key('job', id)
  const queueKey = (serverId: string) => keys.key('line', serverId)

  const notFound = (id: string) => new ServiceError('job_not_found', `There is no job ${id}.`, { job_id: id })
  const invalid = (id: string, status: unknown, sentence: string) =>
    new ServiceError('job_operation_invalid', sentence, { job_id: id, current_status: status })

  async function find (id: string): Promise<Job | null> {
    return parseJob(id, await redis.hgetall(jobKey(id)))
  }

  async function get (id: string): Promise<Job> {
    const job = await find(id)
    if (job === null) throw notFound(id)
    return job
  }

  const between = async (serverId: string, from: number, to: number) =>
    await readEntries(redis, keys, serverId, from, to)

  async function readMany (ids: readonly string[]): Promise<Job[]> {
    if (ids.length === 0) return []
    const pipeline = redis.pipeline()
    for (const id of ids) pipeline.hgetall(jobKey(id))
    const replies = await pipeline.exec() ?? []
    return ids.flatMap((id, index) => {
      const [error, fields] = replies[index] ?? [null, {}]
      if (error) throw error
      return parseJob(id, fields as Record<string, string>) ?? []
    })
  }

  /** Gives a waiting job a new position and a new queue entry instead of the old one. */
  async function enterAgain (
    { id }: Pick<Job, 'id'>,
    { serverId, lane, expectedRun, priority }: Move
  ): Promise<void> {
    const answer = await moveJob(redis, prefix, [id, serverId, lane, expectedRun ?? '', priority ?? ''])
    if (answer[0] === 'gone') throw notFound(id)
    if (answer[0] === 'not_pending') {
      throw invalid(id, answer[1], `Job ${id} is not waiting in the queue; it is ${answer[1]}.`)
    }
  }

  /** The jobs of a queue that are ahead of a position and have the same lane as the job there, in their order. */
  async function peersAhead (serverId: string, rank: number, lane: number): Promise<QueueEntry[]> {
    const found: QueueEntry[] = []
    for (let end = rank - 1; end >= 0; end -= entriesAtOnce) {
      const page = await between(serverId, Math.max(0, end - entriesAtOnce + 1), end)
      const from = page.findLastIndex(entry => entry.lane !== lane) + 1
      found.unshift(...page.slice(from))
      if (from > 0) break
    }
    return found
  }

  async function jobOfOutput (name: string): Promise<Job | null> {
    const id = await redis.hget(keys.key('outputs'), name)
    return id === null ? null : await find(id)
  }

  /** The time after which a job must not be created any more, by the clock of Redis. */
  async function lastTimestamp (): Promise<number> {
    if (commandLimit === undefined) return Number.MAX_SAFE_INTEGER
    // Less than all of it, so that the answer is back before the client has given up.
    return Math.floor(await clock.now() + commandLimit * 0.9)
  }

  async function createOnce (
    { id, serverId, keyId, priority, bulkId, submission, group, webhook = null }: NewJob,
    last: number
  ) {
    const packed = packSubmission(submission)
    try {
      return await createJob(redis, prefix, [id, serverId, keyId ?? '', priority, laneOf(priority), bulkId ?? '',
        packed.submission, packed.prompt, webhook === null ? '' : JSON.stringify(webhook),
        webhook === null ? '' : `,${webhook.events.join(',')},`, packWorkload(workloadOf(submission)), last,
        waitingPerKey ?? '', group?.id ?? id, group?.size ?? 1])
    } catch (error) {
      // A fault of Redis itself is temporary and reported as such.
      if (redisProblemOf(error) !== null) throw error
      throw new ServiceError('queue_error', 'The job could not be queued; please submit it again.', {}, { cause: error })
    }
  }

  return {
    async create (job) {
      for (let tries = 0; ; tries++) {
        const answer = await createOnce(job, await lastTimestamp())
        if (answer[0] === 'created') return { existing: null, position: answer[1], createdAt: answer[2] }
        if (answer[0] === 'full') throw tooManyWaiting(answer[1], waitingPerKey)
        if (answer[0] === 'exists') return { existing: await get(job.id) }
        // The answer arrived in time, so the clock was wrong, or sending took longer than usual.
        clock.forget()
        if (tries > 0) throw new RedisSilence('Redis took too long')
      }
    },
    get,
    find,
    readMany,
    async position ({ id, serverId }) {
      const rank = await redis.zrank(queueKey(serverId), id)
      return rank === null ? null : rank + 1
    },
    async waitingOn (serverId) {
      return await redis.zcard(queueKey(serverId))
    },
    async line (serverId, from, to) {
      return await redis.zrange(queueKey(serverId), String(from), String(to))
    },
    async ownerOfOutput (name) {
      return (await jobOfOutput(name))?.keyId
    },
    jobOfOutput,
    async forgetOutput (id, name) {
      for (;;) {
        const before = await redis.hget(jobKey(id), 'result')
        const result = before === null ? null : parseJsonText(before) as JobResult
        if (before === null || result?.images.some(image => image.name === name) !== true) {
          throw new ServiceError('image_not_found', 'There is no image of this name; it was possibly deleted with its job.')
        }
        const after = { ...result, images: result.images.filter(image => image.name !== name) }
        const [answer] = await forgetOutput(redis, prefix, [id, before, stringifyJson(after), name])
        if (answer !== 'changed') return
      }
    },
    async running (serverId) {
      return await readMany(await redis.zrange(indexKey(keys, { serverId, status: 'processing' }), '0', '-1'))
    },
    entries: between,
    async start ({ id, run: number, serverId, owner }, fence) {
      const [answer] = await startJob(redis, prefix, [id, number, serverId, owner, fence])
      return answer === 'started' || answer === 'lease_lost' ? answer : 'superseded'
    },
    async noteProgress ({ id, run: number, owner }, progress) {
      const text = progress === null ? '' : stringifyJson(progress)
      return (await noteProgress(redis, prefix, [id, number, owner, text]))[0]
    },
    async end ({ id, run: number, owner }, status, { result, error, attempts }) {
      const json = (value: unknown) => value === undefined ? '' : stringifyKeepingFloats(value)
      const answer = await endJob(redis, prefix,
        [id, number, owner, status, json(result), json(error), json(attempts), ...outputNames(result)])
      return answer[0] === 'ended' ? answer[1] : null
    },
    async giveBack (claim, { attempts, usedAttempts, crashes, delayMs, disposition, maxAttempts, fence }) {
      const job = await get(claim.id)
      const lane = laneOfReturn(job.lane)
      const history = attempts.length === 0 ? '' : stringifyJson([...job.attempts, ...attempts])
      const last = attempts.at(-1)?.error ?? job.attempts.at(-1)?.error ?? sentTooOften
      const [answer] = await returnJob(redis, prefix, [claim.id, claim.run, claim.owner, lane, usedAttempts, crashes,
        history, disposition, maxAttempts, stringifyJson(last), fence ?? '', Math.ceil(delayMs)])
      return answer
    },
    async cancel (id) {
      const answer = await cancelJob(redis, prefix, [id])
      if (answer[0] === 'gone') throw notFound(id)
      if (answer[0] === 'ended') throw invalid(id, answer[1], `Job ${id} has already finished; it is ${answer[1]}.`)
      return answer[0]
    },
    async retry (id) {
      const job = await get(id)
      const answer = await retryJob(redis, prefix, [id, laneOf(job.priority), waitingPerKey ?? ''])
      if (answer[0] === 'gone') throw notFound(id)
      if (answer[0] === 'full') throw tooManyWaiting(answer[1], waitingPerKey)
      if (answer[0] === 'active') {
        throw invalid(id, answer[1], `Only a failed or cancelled job can be retried; job ${id} is ${answer[1]}.`)
      }
    },
    async runNow (id) {
      const job = await get(id)
      await enterAgain(job, { serverId: job.serverId, lane: 'first' })
    },
    async prioritise (id, priority) {
      const job = await get(id)
      await enterAgain(job, { serverId: job.serverId, lane: laneOf(priority), priority })
    },
    async moveAhead (id, otherId) {
      const [job, other] = [await get(id), await find(otherId)]
      const rank = other === null ? null : await redis.zrank(queueKey(job.serverId), otherId)
      if (other === null || rank === null || id === otherId) {
        throw new ServiceError('invalid_field_value',
          `before must be another waiting job of the same queue; ${otherId} is not.`, { field: 'before' })
      }
      const lane = Math.max(firstLane, other.lane - 1)
      for (const peer of await peersAhead(job.serverId, rank, other.lane)) {
        if (peer.id !== id) await enterAgain(peer, { serverId: job.serverId, lane, expectedRun: peer.run })
      }
      await enterAgain(job, { serverId: job.serverId, lane })
    },
    async move (id, serverId) {
      const job = await get(id)
      await enterAgain(job, { serverId, lane: job.lane })
    },
    async renewEntry (job) {
      await enterAgain(job, { serverId: job.serverId, lane: laneOfReturn(job.lane), expectedRun: job.run })
    },
    async remove (id) {
      const job = await get(id)
      const answer = await removeJob(redis, prefix, [id, ...outputNames(job.result)])
      if (answer[0] === 'gone') throw notFound(id)
      if (answer[0] === 'active') throw invalid(id, answer[1], `Job ${id} is ${answer[1]}; cancel it before deleting it.`)
      return job
    }
  }
}
