import type { Redis } from 'ioredis'
import { WebhookFields } from '../../schemas/webhook.ts'
import type { Job } from '../jobs/job.ts'
import type { JobStore } from '../jobs/store.ts'
import { type Accepted, newJobId, type SubmissionRequest, type Submitter } from '../jobs/submit.ts'
import { readWebhookRequest } from '../jobs/webhook-request.ts'
import type { Keys } from '../lib/keys.ts'
import type { FinishedImages } from './finished.ts'
import type { ImageReader } from './images.ts'
import { readFields } from './read-fields.ts'
import { requestBuilders } from './request-builders.ts'
import { completeRequest, type GenerationKind, type RequestSources, type BotCall } from './request.ts'
import type { UserRules } from './user-limits.ts'
import { type BotUser, userKey } from './user-scope.ts'

/** The jobs of each user, newest first. */
export interface History {
  /** Before the job is created: a listed id without a job is skipped, a job that is not listed is lost. */
  add (user: BotUser, jobId: string): Promise<void>
  has (user: BotUser, jobId: string): Promise<boolean>
  page (user: BotUser, offset: number, limit: number): Promise<{ readonly jobs: Job[], readonly total: number }>
}

/** A listed job is created within this time or never, in milliseconds. */
const madeWithin = 60_000

export function createHistory (redis: Redis, keys: Keys, store: Pick<JobStore, 'readMany'>): History {
  const keyOf = (user: BotUser) => userKey(keys, user, 'jobs')
  return {
    async add (user, jobId) {
      await redis.zadd(keyOf(user), Date.now(), jobId)
    },
    has: async (user, jobId) => await redis.zscore(keyOf(user), jobId) !== null,
    async page (user, offset, limit) {
      const reply = await redis.zrevrange(keyOf(user), offset, offset + limit - 1, 'WITHSCORES')
      const listed = reply.flatMap((id, index) => index % 2 === 0 ? [{ id, at: Number(reply[index + 1]) }] : [])
      const jobs = await store.readMany(listed.map(({ id }) => id))
      const known = new Set(jobs.map(({ id }) => id))
      const gone = listed.filter(({ id, at }) => !known.has(id) && at < Date.now() - madeWithin).map(({ id }) => id)
      if (gone.length > 0) await redis.zrem(keyOf(user), ...gone)
      return { jobs, total: await redis.zcard(keyOf(user)) }
    }
  }
}

/** A generation that is parsed and built, but not submitted yet. */
export interface PreparedRequest {
  readonly user: BotUser
  readonly submission: SubmissionRequest
  /** Turns an error into the one for the client, if the client did not send the request in this form. */
  readonly describeError?: (error: unknown) => unknown
}

export interface Generations {
  /** @throws ValidationFailure or ServiceError naming the field */
  prepare (kind: GenerationKind, call: BotCall): Promise<PreparedRequest>
  /**
   * Queues generations of one user: all of them, or none if one is refused.
   * @param begin called with their ids once all are checked
   */
  submit (requests: readonly PreparedRequest[], begin?: (ids: readonly string[]) => Promise<void>): Promise<Accepted[]>
}

export interface GenerationsDependencies extends RequestSources {
  readonly submitter: Submitter
  readonly history: History
  readonly rules: UserRules
  readonly imageReader: ImageReader
  readonly finished: FinishedImages
}

/** Generations of users: parsed, checked by the rules for users, and submitted like any other job. */
export function createGenerations (dependencies: GenerationsDependencies): Generations {
  const { submitter, history, rules, imageReader, finished } = dependencies
  return {
    async prepare (kind, call) {
      const request = await completeRequest(kind, call, dependencies)
      const plan = await requestBuilders[kind](request, {
        imageReader, finished, maxPixels: rules.maxPixels, maxEnlargedPixels: rules.maxEnlargedPixels
      })
      rules.checkWords({ prompt: String(plan.given.prompt ?? '') })
      const asked = readFields(WebhookFields, call.fields)
      return {
        user: request.user,
        submission: {
          target: String(request.said.server ?? ''),
          given: plan.given,
          ...(plan.work === undefined ? {} : { work: plan.work }),
          appType: 'studio',
          source: 'studio',
          priority: 5,
          onMissing: 'refuse',
          onDifference: 'warn',
          keyId: call.keyId,
          context: call.context,
          bulkId: null,
          webhook: readWebhookRequest(asked),
          ...(asked.metadata === undefined ? {} : { metadata: asked.metadata }),
          baseUrl: call.baseUrl,
          studio: { user: request.user.id, kind },
          warnings: [...request.warnings, ...plan.warnings]
        }
      }
    },
    async submit (requests, begin = async () => {}) {
      const [first] = requests
      if (first === undefined) return []
      const { user } = first
      const ids = requests.map(newJobId)
      await rules.enter(user, ids)
      const accepted: Accepted[] = []
      try {
        const checked = []
        for (const { submission, describeError } of requests) {
          const check = submitter.check(submission, requests.length)
          checked.push(await check.catch(error => { throw describeError?.(error) ?? error }))
        }
        await begin(ids)
        for (const [index, one] of checked.entries()) {
          const id = ids[index] ?? newJobId()
          await history.add(user, id)
          accepted.push(await submitter.accept(one, id, undefined, ids[0]))
        }
        return accepted
      } catch (error) {
        await rules.leave(user, ids.slice(accepted.length))
        throw error
      }
    }
  }
}
