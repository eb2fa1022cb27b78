import { WebhookFields } from '../../schemas/webhook.ts'
import { newJobId, type Accepted, type SubmissionRequest, type Submitter } from '../jobs/submit.ts'
import { readWebhookWish } from '../webhooks/subscription.ts'
import type { FinishedPictures } from './finished.ts'
import type { History } from './history.ts'
import type { StudioUser } from './owner.ts'
import type { Pictures } from './pictures.ts'
import { planners } from './plans.ts'
import { completeRequest, type GenerationKind, type RequestSources, type StudioCall } from './request.ts'
import { readFields } from './read-fields.ts'
import type { UserRules } from './rules.ts'

/** A generation that is read and planned, and not submitted yet. */
export interface PreparedRequest {
  readonly user: StudioUser
  readonly submission: SubmissionRequest
  /** What its client is told of what is wrong with it, where it was not sent as it stands here. */
  readonly told?: (error: unknown) => unknown
}

export interface Generations {
  /** @throws ValidationFailure or ServiceError naming the field */
  prepare (kind: GenerationKind, call: StudioCall): Promise<PreparedRequest>
  /**
   * Puts generations of one user in line: all of them, or none where one is refused.
   * @param begin called once all are checked, with their ids
   */
  submit (requests: readonly PreparedRequest[], begin?: (ids: readonly string[]) => Promise<void>): Promise<Accepted[]>
}

export interface GenerationsDependencies extends RequestSources {
  readonly submitter: Submitter
  readonly history: History
  readonly rules: UserRules
  readonly pictures: Pictures
  readonly finished: FinishedPictures
}

/** Generations of users: read, held to the rules for users, and submitted as any other job. */
export function createGenerations (dependencies: GenerationsDependencies): Generations {
  const { submitter, history, rules, pictures, finished } = dependencies
  return {
    async prepare (kind, call) {
      const request = await completeRequest(kind, call, dependencies)
      const plan = await planners[kind](request, {
        pictures, finished, mostPixels: rules.mostPixels, mostEnlargedPixels: rules.mostEnlargedPixels
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
          bulkId: null,
          webhook: readWebhookWish(asked),
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
        for (const { submission, told = (error: unknown) => error } of requests) {
          checked.push(await submitter.check(submission, requests.length).catch(error => { throw told(error) }))
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
