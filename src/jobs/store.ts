import type { Redis } from 'ioredis'
import type { EndStatus } from '../../schemas/job.ts'
import { ServiceError } from '../lib/errors.ts'
import { stringifyJson, stringifyKeepingFloats } from '../lib/exact-json.ts'
import type { Keys } from '../lib/keys.ts'
import { createRedisClock } from '../redis/scripts.ts'
import { RedisSilence, redisProblemOf } from '../redis/errors.ts'
import {
  indexKey, type Job, type JobAttempt, type JobError, type JobProgress, type JobResult, type JobSubmission,
  type PackedResult, packResult, packSubmission, parseJob, unpackResult, weightOf
} from './job.ts'
import { type GiveBack, type GivenBack, packDial, type PoolDial, type RunClaim } from './claims.ts'
import { createTogether } from './create-together.ts'
import { classOf, type JobClass, needsOf, needsOfJob } from './needs.ts'
import {
  endJob, forgetOutput, loadQueueScripts, noteProgress, readPositions, removeJob, startJob
} from './scripts/index.ts'
import type { Subscription } from './webhook-request.ts'
import { packWorkload, workloadOf } from './workload.ts'

/** A new job, before it has a position. */
export interface NewJob {
  readonly id: string
  /** Id of the server that it needs; empty for any. */
  readonly target: string
  /** Its class in the pool. */
  readonly jobClass: JobClass
  /** Predicted milliseconds of a generation, on an ordinary server. */
  readonly workMs: number
  /** Shares of an access key are divided between its users; empty if the client names none. */
  readonly user: string
  readonly keyId: string | null
  /** 1 to 10, 10 first. */
  readonly priority: number
  /** Whether it yields to all jobs that are not in the background. */
  readonly background: boolean
  readonly bulkId: string | null
  readonly submission: JobSubmission
  /** Jobs that are submitted together, all or none: the first reserves space for all. Only this job if omitted. */
  readonly group?: { readonly id: string, readonly size: number }
  /** The subscriber to its events. */
  readonly webhook?: Subscription | null
}

export type { GiveBack, GivenBack, RunClaim } from './claims.ts'

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
  /** Expected position among the jobs that it competes with, from 1; null if it does not wait. */
  position (job: Pick<Job, 'id'>): Promise<number | null>
  /** Number of jobs that wait for this server: that it has claimed, or that need it. */
  waitingOn (serverId: string): Promise<number>
  /** The first waiting jobs in their order: those that a server can run, or all if the id is empty. */
  inOrder (serverId: string, most: number): Promise<string[]>
  /** Ids of the jobs that wait for a server, oldest first; of those that wait for any if the id is empty. */
  waitingIds (serverId: string): Promise<string[]>
  /** The jobs that a server has claimed and not begun. */
  claimedIds (serverId: string): Promise<string[]>
  ownerOfOutput (name: string): Promise<string | null | undefined>
  /** The job that made an output; null if no known job made it. */
  jobOfOutput (name: string): Promise<Job | null>
  /** Removes one image from a job's result. @throws ServiceError `image_not_found` */
  forgetOutput (id: string, name: string): Promise<void>
  /** The jobs that a server runs, by the records. */
  running (serverId: string): Promise<Job[]>

  start (claim: RunClaim, fence: number): Promise<StartAnswer>
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
  /**
   * Moves it ahead of the other jobs of its share, or of everybody's, and out of the background.
   * @throws ServiceError as `move`
   */
  runNow (id: string, ahead: AheadOf): Promise<void>
  /** Moves it ahead of the other jobs of its share in its lane. @throws ServiceError as `move` */
  runFirst (id: string): Promise<void>
  /** Moves it into the background, or out of it, as if it had just arrived. @throws ServiceError as `move` */
  setBackground (id: string, background: boolean): Promise<void>
  /** Moves it behind the other jobs of its share. @throws ServiceError as `move` */
  runLast (id: string): Promise<void>
  /** Gives it another priority, 1 to 10; it waits as if it had just arrived. @throws ServiceError as `move` */
  prioritise (id: string, priority: number): Promise<void>
  /**
   * Moves it right ahead of another waiting job, of the same share unless it can go ahead of everybody's.
   * @throws ServiceError as `move`, or `invalid_field_value` if the other job does not wait in the pool
   */
  moveAhead (id: string, otherId: string, ahead: AheadOf): Promise<void>
  /**
   * Lets only this server run it, or any server if the id is empty.
   * @throws ServiceError `job_not_found`, or `job_operation_invalid` unless it waits
   */
  move (id: string, serverId: string): Promise<void>
  /**
   * Replaces what a waiting job generates; false if this run of it does not wait any more.
   * @throws ServiceError as `move`
   */
  edit (id: string, run: number, edited: Pick<NewJob, 'target' | 'jobClass' | 'workMs' | 'user' | 'submission'>): Promise<boolean>
  /** Gives a waiting job a new queue entry if the old one is lost or stuck with a dead worker. */
  renewEntry (job: Pick<Job, 'id' | 'run'>): Promise<void>
  /** Deletes a finished job. @throws ServiceError `job_not_found`, or `job_operation_invalid` while it is active */
  remove (id: string): Promise<Job>
}

/** Whose jobs a moved job can overtake: those of its own share, or all. */
export type AheadOf = 'own' | 'everybody'

/** A new job's position, from 1, its timestamp and the idle server that got it, or ''; or the job that has this id. */
export type Created =
  | { readonly existing: null, readonly position: number, readonly createdAt: number, readonly givenTo: string }
  | { readonly existing: Job }

/** `lease_lost`: another process serves the server. `closed`: an operator lets the server begin nothing. */
export type StartAnswer = 'started' | 'superseded' | 'lease_lost' | 'closed'

export interface JobOutcome {
  readonly result?: PackedResult
  readonly error?: JobError
  readonly attempts?: readonly JobAttempt[]
}

export interface JobStoreDependencies {
  readonly redis: Redis
  readonly keys: Keys
  /** Lua functions that add and remove queue entries; `queues/` has them, so that `src/` does not depend on BullMQ. */
  readonly queueEntries: string
  /** How long the connection waits for an answer, in milliseconds; a job is not created later than that. */
  readonly commandLimit?: number
  /** Waiting jobs that one access key can have; no limit if omitted. */
  readonly waitingPerKey?: number
  readonly dial: PoolDial
}

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
  const { redis, keys, queueEntries, commandLimit, waitingPerKey } = dependencies
  const scripts = loadQueueScripts(queueEntries)
  const { returnJob, cancelJob, retryJob, editJob, moveJob, readOrder } = scripts
  const dial = packDial(dependencies.dial)
  const prefix: [string] = [keys.key('')]
  const createJob = createTogether(redis, prefix, scripts)
  const clock = createRedisClock(redis)
  const jobKey = (id: string) => keys.key('job', id)

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

  /** @throws ServiceError `job_not_found`, or `job_operation_invalid` unless it waits */
  async function change (
    id: string, how: Parameters<typeof moveJob>[2][1], value: string | number = '', detail: string | number = '', needs = ''
  ): Promise<'moved' | 'there' | 'not_waiting' | 'other_lane'> {
    const answer = await moveJob(redis, prefix, [id, how, value, detail, needs, dial])
    if (answer[0] === 'gone') throw notFound(id)
    if (answer[0] === 'not_pending') {
      throw invalid(id, answer[1], `Job ${id} is not waiting in the queue; it is ${answer[1]}.`)
    }
    if (answer[0] === 'earlier') {
      // It enters the pool first.
      const { target, submission } = await get(id)
      const { id: jobClass, needs: itsNeeds } = classOf(needsOf(submission, target), submission)
      await change(id, 'target', target, jobClass, itsNeeds)
      return await change(id, how, value, detail, needs)
    }
    return answer[0] === 'superseded' ? 'there' : answer[0]
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
    { id, target, jobClass, workMs, user, keyId, priority, background, bulkId, submission, ...others }: NewJob,
    last: number
  ) {
    const { group, webhook = null } = others
    const packed = packSubmission(submission)
    try {
      return await createJob([id, target, keyId ?? '', priority, bulkId ?? '', packed.submission,
        packed.prompt, webhook === null ? '' : JSON.stringify(webhook),
        webhook === null ? '' : `,${webhook.events.join(',')},`, packWorkload(workloadOf(submission)), last,
        waitingPerKey ?? '', group?.id ?? id, group?.size ?? 1, jobClass.id, jobClass.needs, workMs, weightOf(priority),
        user, dial, submission.appType, background ? '1' : ''])
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
        if (answer[0] === 'created') {
          return { existing: null, position: answer[1], createdAt: answer[2], givenTo: answer[3] }
        }
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
    async position ({ id }) {
      const [position = 0] = await readPositions(redis, prefix, [id])
      return position === 0 ? null : position
    },
    async waitingOn (serverId) {
      return await redis.zcard(indexKey(keys, { serverId, status: 'pending' }))
    },
    async inOrder (serverId, most) {
      return await readOrder(redis, prefix, [serverId, most])
    },
    async waitingIds (serverId) {
      return await redis.zrange(indexKey(keys, { serverId, status: 'pending' }), '0', '-1')
    },
    async claimedIds (serverId) {
      return await redis.zrange(keys.key('line', serverId), '0', '-1')
    },
    async ownerOfOutput (name) {
      return (await jobOfOutput(name))?.keyId
    },
    jobOfOutput,
    async forgetOutput (id, name) {
      for (;;) {
        const job = await find(id)
        if (job?.result?.images.some(image => image.name === name) !== true) {
          throw new ServiceError('image_not_found', 'There is no image of this name; it was possibly deleted with its job.')
        }
        const before = await redis.hget(jobKey(id), 'result') ?? ''
        const result = unpackResult(before, job.submission)
        if (result === null) continue
        const after = { ...result, images: result.images.filter(image => image.name !== name) }
        const [answer] = await forgetOutput(redis, prefix, [id, before, packResult(after, job.submission).text, name])
        if (answer !== 'changed') return
      }
    },
    async running (serverId) {
      return await readMany(await redis.zrange(indexKey(keys, { serverId, status: 'processing' }), '0', '-1'))
    },
    async start ({ id, run: number, serverId, owner }, fence) {
      const [answer] = await startJob(redis, prefix, [id, number, serverId, owner, fence])
      return answer === 'gone' ? 'superseded' : answer
    },
    async noteProgress ({ id, run: number, owner }, progress) {
      const text = progress === null ? '' : stringifyJson(progress)
      return (await noteProgress(redis, prefix, [id, number, owner, text]))[0]
    },
    async end ({ id, run: number, owner }, status, { result, error, attempts }) {
      const json = (value: unknown) => value === undefined ? '' : stringifyKeepingFloats(value)
      const answer = await endJob(redis, prefix,
        [id, number, owner, status, result?.text ?? '', json(error), json(attempts), ...result?.outputs ?? []])
      return answer[0] === 'ended' ? answer[1] : null
    },
    async giveBack (claim, options) {
      const { attempts, usedAttempts, crashes, delayMs, disposition, maxAttempts, fence, elsewhere } = options
      const job = await get(claim.id)
      const history = attempts.length === 0 ? '' : stringifyJson([...job.attempts, ...attempts])
      const last = attempts.at(-1)?.error ?? job.attempts.at(-1)?.error ?? sentTooOften
      const before = needsOfJob(job)
      // What it began with stays.
      const kept = disposition === 'unsent' ? before.checkpoint : job.fixedCheckpoint
      const begunWith = options.checkpoint === 'free' ? null : kept
      const avoided = (how: GiveBack['elsewhere']) => how === elsewhere ? [claim.serverId] : []
      const needs = needsOf({ ...job.submission, checkpoint: job.submission.checkpoint ?? begunWith }, job.target,
        { lacking: [...before.lacking, ...avoided('only')], failed: [...before.failed, ...avoided('first')] })
      const jobClass = classOf(needs, job.submission)
      const answer = await returnJob(redis, prefix, [claim.id, claim.run, claim.owner, jobClass.id, jobClass.needs,
        usedAttempts, crashes, history, disposition, maxAttempts, stringifyJson(last), fence ?? '', Math.round(delayMs), dial])
      return answer[0]
    },
    async cancel (id) {
      const answer = await cancelJob(redis, prefix, [id])
      if (answer[0] === 'gone') throw notFound(id)
      if (answer[0] === 'ended') throw invalid(id, answer[1], `Job ${id} has already finished; it is ${answer[1]}.`)
      return answer[0]
    },
    async retry (id) {
      const job = await get(id)
      const { lacking } = needsOfJob(job)
      const jobClass = classOf(needsOf(job.submission, job.target, { lacking }), job.submission)
      const answer = await retryJob(redis, prefix, [id, waitingPerKey ?? '', jobClass.id, jobClass.needs, dial])
      if (answer[0] === 'gone') throw notFound(id)
      if (answer[0] === 'full') throw tooManyWaiting(answer[1], waitingPerKey)
      if (answer[0] === 'active') {
        throw invalid(id, answer[1], `Only a failed or cancelled job can be retried; job ${id} is ${answer[1]}.`)
      }
    },
    async runNow (id, ahead) {
      await change(id, ahead === 'own' ? 'next' : 'express')
    },
    runFirst: async id => { await change(id, 'first') },
    setBackground: async (id, background) => { await change(id, 'lane', background ? '1' : '') },
    runLast: async id => { await change(id, 'last') },
    async prioritise (id, priority) {
      await change(id, 'priority', priority, weightOf(priority))
    },
    async moveAhead (id, otherId, ahead) {
      const answer = await change(id, 'before', otherId, ahead === 'own' ? 'own' : 'any')
      if (answer === 'other_lane') {
        const [own, other] = (await get(id)).background ? ['in', 'not'] : ['not in', 'in']
        throw new ServiceError('invalid_field_value', `before must be a job of the same lane; job ${id} waits ${own} the ` +
          `background and ${otherId} does ${other === 'in' ? 'so' : 'not'}. Send background too.`, { field: 'before' })
      }
      if (answer !== 'not_waiting') return
      const whose = ahead === 'own' ? ' of the same access key' : ''
      throw new ServiceError('invalid_field_value', `before must be another waiting job${whose}; ${otherId} is not.`,
        { field: 'before' })
    },
    async move (id, serverId) {
      const job = await get(id)
      const { lacking } = needsOfJob(job)
      const jobClass = classOf(needsOf(job.submission, serverId, { lacking }), job.submission)
      await change(id, 'target', serverId, jobClass.id, jobClass.needs)
    },
    async edit (id, run, { target, jobClass, workMs, user, submission }) {
      const { submission: text, prompt } = packSubmission(submission)
      const answer = await editJob(redis, prefix, [id, run, target, text, prompt, packWorkload(workloadOf(submission)),
        jobClass.id, jobClass.needs, workMs, submission.appType, user, dial])
      if (answer[0] === 'gone') throw notFound(id)
      return answer[0] === 'edited'
    },
    renewEntry: async ({ id, run }) => { await change(id, 'renew', run) },
    async remove (id) {
      const job = await get(id)
      const answer = await removeJob(redis, prefix, [id, ...outputNames(job.result)])
      if (answer[0] === 'gone') throw notFound(id)
      if (answer[0] === 'active') throw invalid(id, answer[1], `Job ${id} is ${answer[1]}; cancel it before deleting it.`)
      return job
    }
  }
}
