import type { Redis } from 'ioredis'
import type { EndStatus } from '../../schemas/job.ts'
import { ServiceError } from '../lib/errors.ts'
import { parseJsonText, stringifyJson, stringifyKeepingFloats } from '../lib/exact-json.ts'
import type { Keys } from '../lib/keys.ts'
import { createRedisClock } from '../redis/clock.ts'
import { RedisSilence } from '../redis/errors.ts'
import {
  firstLane, indexKey, type Job, type JobAttempt, type JobError, type JobProgress, type JobResult, type JobSubmission,
  laneOf, laneOfReturn, packSubmission, parseJob
} from './job.ts'
import { createQueueEntries, type QueueEntry, type QueuePort } from './queue-entries.ts'
import {
  cancelJob, createJob, endJob, forgetOutput, moveJob, noteProgress, removeJob, retryJob, returnJob, startJob
} from './scripts/index.ts'
import type { Subscription } from './webhook-request.ts'
import { packWorkload, workloadOf } from './workload.ts'

/** A new job, before it has a place. */
export interface NewJob {
  readonly id: string
  readonly serverId: string
  readonly keyId: string | null
  /** 1 to 10, 10 first. */
  readonly priority: number
  readonly bulkId: string | null
  readonly submission: JobSubmission
  /** Jobs that are submitted together, all or none: the first finds room for all. This one alone if left out. */
  readonly group?: { readonly id: string, readonly size: number }
  /** Who is told of its events. */
  readonly webhook?: Subscription | null
}

/** The right to report on one run: a report under another run or owner is refused. */
export interface RunClaim {
  readonly id: string
  readonly run: number
  readonly serverId: string
  /** Names the worker process, its lease of the server and this very run, so that nobody else has the same. */
  readonly owner: string
}

export type CancelOutcome = 'cancelled' | 'requested'

export interface JobStore {
  /** Creates record, indexes, place and queue entry in one step. A job that was there before stays as it is. */
  /** @throws ServiceError `queue_limit_reached` */
  create (job: NewJob): Promise<Created>
  /** @throws ServiceError `job_not_found` */
  get (id: string): Promise<Job>
  find (id: string): Promise<Job | null>
  /** In the order asked; jobs that are gone are left out. */
  readMany (ids: readonly string[]): Promise<Job[]>
  /** Place in the line of its server, from 1; null when it is in none. */
  position (job: Pick<Job, 'id' | 'serverId'>): Promise<number | null>
  waitingOn (serverId: string): Promise<number>
  /** Ids of the jobs in a server's line from place `from` to `to`, counted from 0 and both included. */
  line (serverId: string, from: number, to: number): Promise<string[]>
  /** Id of the key that owns the job which made an output; undefined where no job is known to have made it. */
  ownerOfOutput (name: string): Promise<string | null | undefined>
  /** The job that made an output; null where none is known to have made it. */
  jobOfOutput (name: string): Promise<Job | null>
  /** Takes one image out of a job's result. @throws ServiceError `image_not_found` */
  forgetOutput (id: string, name: string): Promise<void>
  /** The jobs that a server runs, as the records say. */
  running (serverId: string): Promise<Job[]>
  /** What the queue of a server must hold for the jobs from place `from` to `to` of its line. */
  entries (serverId: string, from: number, to: number): Promise<QueueEntry[]>
  /** Gives those jobs their queue entries that entered a line seconds ago and, after some crash, got none. */
  enterLate (serverId: string): Promise<void>

  /** `unattended`: the lease under this fence is over, another process serves the server. */
  start (claim: RunClaim, fence: number): Promise<'started' | 'superseded' | 'unattended'>
  /** Without progress it only asks whether the run is still wanted. */
  noteProgress (claim: RunClaim, progress: JobProgress | null): Promise<'noted' | 'cancel' | 'superseded'>
  /** The status it really ended with, or null where the claim no longer holds. */
  end (claim: RunClaim, status: EndStatus, outcome: JobOutcome): Promise<EndStatus | null>
  /** Puts a running job back in line and into the queue, or ends it where it was sent as often as it may be. */
  giveBack (claim: RunClaim, options: GiveBack): Promise<GivenBack>

  /** @throws ServiceError `job_not_found`, or `job_operation_invalid` for a job that has ended */
  cancel (id: string): Promise<CancelOutcome>
  /** @throws ServiceError `job_not_found`, or `job_operation_invalid` for one that neither failed nor was cancelled */
  retry (id: string): Promise<void>
  /** First in line. @throws ServiceError as `move` */
  runNow (id: string): Promise<void>
  /** Among those of another priority, 1 to 10, after all that wait there already. @throws ServiceError as `move` */
  prioritise (id: string, priority: number): Promise<void>
  /**
   * Right ahead of another job of the same line. Those of equal rank before that one are entered anew, in their order.
   * @throws ServiceError as `move`, or `invalid_field_value` where the other one does not wait in the same line
   */
  moveAhead (id: string, otherId: string): Promise<void>
  /** To another server's line. @throws ServiceError `job_not_found`, or `job_operation_invalid` unless it waits */
  move (id: string, serverId: string): Promise<void>
  /** Gives a waiting job a new queue entry, when the old one is lost or stuck with a dead worker. */
  renewEntry (job: QueueEntry): Promise<void>
  /** Forgets an ended job. @throws ServiceError `job_not_found`, or `job_operation_invalid` while it is active */
  remove (id: string): Promise<Job>
}

/** A new job's place in line, from 1, and its moment; or the job that had this id already. */
export type Created =
  | { readonly existing: null, readonly position: number, readonly createdAt: number }
  | { readonly existing: Job }

export interface JobOutcome {
  readonly result?: JobResult
  readonly error?: JobError
  readonly attempts?: readonly JobAttempt[]
}

/** `unattended`: the lease that was named is over, another process serves the server. */
export type GivenBack = 'returned' | 'cancelled' | 'spent' | 'superseded' | 'unattended'

export interface GiveBack {
  /** What went wrong, appended to the job's history, and what it fails with if it may not be sent again. */
  readonly attempts: readonly JobAttempt[]
  /** Whether this counts against the allowed attempts (1) or not (0). */
  readonly usedAttempts: 0 | 1
  /** Whether the server went away under it (1) or not (0). */
  readonly crashes: 0 | 1
  readonly delayMs: number
  /** Only under this lease of the server, where it is not the run's own process that gives the job back. */
  readonly fence?: number
  /**
   * What became of the server. `gone`: it does not answer its looks either, so one more generation is allowed.
   * `unsent`: nothing of this one ever got there. `stopped`: this service ended it, in order.
   */
  readonly disposition: 'answers' | 'gone' | 'unsent' | 'stopped'
  /** Generations that a job may take where no server dies. */
  readonly maxAttempts: number
}

export interface JobStoreDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly queue: QueuePort
  /** How long the connection waits for an answer, in milliseconds; a job is not created later than that. */
  readonly commandLimit?: number
  /** Waiting jobs that one access key may have; no limit if left out. */
  readonly waitingPerKey?: number
}

/** Where a waiting job goes. */
interface Move {
  readonly serverId: string
  readonly lane: number | 'first'
  /** Only if it is this run that waits. */
  readonly expectedRun?: number
  readonly priority?: number
}

/** Records that are read at once when a line is looked through. */
const entriesAtOnce = 200

/** Of a job that was begun as often as it may be although nothing was noted against it. */
const sentTooOften: JobError = {
  code: 'worker_lost', message: 'Its generation was given up repeatedly.', failureClass: 'internal'
}

const outputNames = (result: JobResult | null | undefined) => (result?.images ?? []).map(({ name }) => name)

/** @param most of waiting jobs that the key may have */
export function tooManyWaiting (waiting: number, most: number | undefined): ServiceError {
  return new ServiceError('queue_limit_reached', `This key has ${waiting} waiting jobs and can have ${most}; wait for ` +
    'some of them to start.', { waiting, limit: most })
}

/** The only place that reads and writes job records. */
export function createJobStore (dependencies: JobStoreDependencies): JobStore {
  const { redis, keys, queue, commandLimit, waitingPerKey } = dependencies
  const prefix: [string] = [keys.key('')]
  const clock = createRedisClock(redis)
  const jobKey = (id: string) => keys.key('job', id)
  const lineKey = (serverId: string) => keys.key('line', serverId)

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

  const { enter, between, enterLate } = createQueueEntries({ redis, keys, queue, find })

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

  /** Gives a waiting job a new place and a new queue entry, then takes the old entry out. */
  async function enterAgain (
    { id }: Pick<Job, 'id'>,
    { serverId, lane, expectedRun, priority }: Move
  ): Promise<void> {
    const answer = await moveJob(redis, prefix, [id, serverId, lane, expectedRun ?? '', priority ?? ''])
    if (answer[0] === 'gone') throw notFound(id)
    if (answer[0] === 'superseded' || answer[0] === 'there') return
    if (answer[0] === 'not_pending') {
      throw invalid(id, answer[1], `Job ${id} is not waiting in the queue; it is ${answer[1]}.`)
    }
    const [, newRun, oldRun, oldServer, newLane] = answer
    await enter({ id, run: newRun, serverId, lane: Number(newLane) })
    await queue.remove({ id, run: Number(oldRun), serverId: oldServer })
  }

  /** The jobs of a line that stand before a place and have the same lane as the one there, in their order. */
  async function peersAhead (serverId: string, place: number, lane: number): Promise<QueueEntry[]> {
    const found: QueueEntry[] = []
    for (let end = place - 1; end >= 0; end -= entriesAtOnce) {
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

  /** The moment after which a job must not be created any more, by the clock of Redis. */
  async function lastTimestamp (): Promise<number> {
    if (commandLimit === undefined) return Number.MAX_SAFE_INTEGER
    // Less than all of it, so that the answer is back before its caller has given up.
    return Math.floor(await clock.now() + commandLimit * 0.9)
  }

  async function createOnce (
    { id, serverId, keyId, priority, bulkId, submission, group, webhook = null }: NewJob,
    entry: QueueEntry,
    last: number
  ) {
    const packed = packSubmission(submission)
    return await queue.addWith(entry, createJob, prefix,
      [id, serverId, keyId ?? '', priority, entry.lane, bulkId ?? '', packed.submission, packed.prompt,
        webhook === null ? '' : JSON.stringify(webhook), webhook === null ? '' : `,${webhook.events.join(',')},`,
        packWorkload(workloadOf(submission)), last, waitingPerKey ?? '', group?.id ?? id,
        group?.size ?? 1])
  }

  return {
    async create (job) {
      const entry = { id: job.id, run: 1, serverId: job.serverId, lane: laneOf(job.priority) }
      for (let tries = 0; ; tries++) {
        const answer = await createOnce(job, entry, await lastTimestamp())
        if (answer[0] === 'created') return { existing: null, position: answer[1], createdAt: answer[2] }
        if (answer[0] === 'full') {
          await queue.remove(entry)
          throw tooManyWaiting(answer[1], waitingPerKey)
        }
        if (answer[0] === 'exists') return { existing: await get(job.id) }
        // The answer is here in time, so the clock was not right, or it took longer than usual to send.
        await queue.remove(entry)
        clock.forget()
        if (tries > 0) throw new RedisSilence('Redis took too long')
      }
    },
    get,
    find,
    readMany,
    async position ({ id, serverId }) {
      const rank = await redis.zrank(lineKey(serverId), id)
      return rank === null ? null : rank + 1
    },
    async waitingOn (serverId) {
      return await redis.zcard(lineKey(serverId))
    },
    async line (serverId, from, to) {
      return await redis.zrange(lineKey(serverId), String(from), String(to))
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
    enterLate,
    async start ({ id, run: number, serverId, owner }, fence) {
      const [answer] = await startJob(redis, prefix, [id, number, serverId, owner, fence])
      return answer === 'started' || answer === 'unattended' ? answer : 'superseded'
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
      const answer = await returnJob(redis, prefix, [claim.id, claim.run, claim.owner, lane, usedAttempts, crashes,
        history, disposition, maxAttempts, stringifyJson(last), fence ?? ''])
      if (answer[0] === 'returned') {
        await enter({ id: claim.id, run: Number(answer[1]), serverId: claim.serverId, lane }, { delayMs })
      }
      return answer[0]
    },
    async cancel (id) {
      const answer = await cancelJob(redis, prefix, [id])
      if (answer[0] === 'gone') throw notFound(id)
      if (answer[0] === 'ended') throw invalid(id, answer[1], `Job ${id} has already finished; it is ${answer[1]}.`)
      if (answer[0] === 'cancelled') await queue.remove({ id, run: Number(answer[1]), serverId: answer[2] })
      return answer[0]
    },
    async retry (id) {
      const job = await get(id)
      const lane = laneOf(job.priority)
      const answer = await retryJob(redis, prefix, [id, lane, waitingPerKey ?? ''])
      if (answer[0] === 'gone') throw notFound(id)
      if (answer[0] === 'full') throw tooManyWaiting(answer[1], waitingPerKey)
      if (answer[0] === 'active') {
        throw invalid(id, answer[1], `Only a failed or cancelled job can be retried; job ${id} is ${answer[1]}.`)
      }
      await enter({ id, run: answer[1], serverId: job.serverId, lane })
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
      const place = other === null ? null : await redis.zrank(lineKey(job.serverId), otherId)
      if (other === null || place === null || id === otherId) {
        throw new ServiceError('invalid_field_value',
          `before must be another waiting job of the same queue; ${otherId} is not.`, { field: 'before' })
      }
      const lane = Math.max(firstLane, other.lane - 1)
      for (const peer of await peersAhead(job.serverId, place, other.lane)) {
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
