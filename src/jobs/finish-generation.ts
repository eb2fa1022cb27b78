import { setImmediate as nextTurn } from 'node:timers/promises'
import { checkAnswer } from '../a1111/check-answer.ts'
import type { GenerationAnswer } from '../a1111/types.ts'
import type { Log } from '../lib/logging.ts'
import type { Tags } from '../media/tagger.ts'
import type { ServerMonitor } from '../servers/monitor.ts'
import type { SentOptions } from '../servers/options-access.ts'
import type { OptionsKeeper } from '../servers/options-keeper.ts'
import type { ImageCheck } from './check-images.ts'
import type { ImageCollector } from './collect-images.ts'
import { differenceOf, differentResult, inventoryDifference, requestSignature } from './failure-policy.ts'
import type { GenerationTelemetry } from './generation-telemetry.ts'
import { type Job, type JobResult, packResult } from './job.ts'
import type { JobStore, RunClaim } from './store.ts'

/** A generation that was answered, and whose images are stored. */
export interface AnsweredGeneration {
  readonly claim: RunClaim
  readonly job: Job
  readonly answer: GenerationAnswer
  readonly result: Pick<JobResult, 'images' | 'partial' | 'warnings'>
  /** Null where its server, or this work, takes none. */
  readonly options: SentOptions | null
  readonly collector: ImageCollector
  /** By the monotonic clock. */
  readonly begunAt: number
}

export interface FinishDependencies {
  readonly monitor: Pick<ServerMonitor, 'proved' | 'differs'>
  readonly options: Pick<OptionsKeeper, 'check'>
  readonly checkImages: ImageCheck
  /** Tags of an output; null where no tagger is configured. */
  readonly tagOutput: ((name: string, signal: AbortSignal) => Promise<Tags>) | null
  /** Aborted when this process stops serving the server. */
  readonly leaving: AbortSignal
  readonly store: Pick<JobStore, 'end'>
  readonly telemetry: GenerationTelemetry
  readonly log: Log
}

/** Compares an answer with its request, tags the image, and writes the end of the job into its record. */
export function createFinish (dependencies: FinishDependencies): (answered: AnsweredGeneration) => Promise<void> {
  const { monitor, options, checkImages, tagOutput, leaving, store, telemetry, log } = dependencies

  /** The server is free meanwhile. */
  async function tagsOf (
    { submission }: Job, { images, partial }: Pick<JobResult, 'images' | 'partial'>
  ): Promise<{ tags?: Tags }> {
    const first = images.find(({ role }) => role === 'image')
    if (submission.autoTag !== true || tagOutput === null || partial || first === undefined) return {}
    return { tags: await tagOutput(first.name, leaving) }
  }

  return async ({ claim, job, answer, result, options: sent, collector, begunAt }) => {
    // Redis answers the note of this job and the claim of the next one together: the request of that one goes first.
    await nextTurn()
    const { version } = answer.info ?? {}
    monitor.proved(typeof version === 'string' ? version : null, () => requestSignature(job))
    const differences = result.partial
      ? []
      : [...checkAnswer(job.submission, answer, result.images), ...await checkImages(job.submission, result.images)]
    const unasked = result.partial || sent === null || answer.info === null
      ? []
      : await options.check({ parameters: job.submission.parameters, sent: sent.settings }, answer.info)
    const seen = [...result.warnings, ...differences, ...unasked]
    const warnings = [...seen, ...sent?.warnings ?? []]
    monitor.differs(differences.map(inventoryDifference))
    const tags = await tagsOf(job, result)
    const outcome = { result: packResult({ ...result, ...tags, info: answer.info, warnings }, job.submission) }
    // A setting that stays at the server does not change the image.
    const status = seen.length > 0 && job.submission.onDifference === 'fail'
      ? await store.end(claim, 'failed', { ...outcome, error: differenceOf(seen) })
      : await store.end(claim, 'completed', outcome)
    if (status === null) {
      await collector.discard()
      log.warn(telemetry.about(job), 'another process took the job over; this answer is dropped')
      return
    }
    const differs = status === 'failed' ? differentResult : ''
    const took = Math.round(performance.now() - begunAt)
    telemetry.ended(job, { status, code: differs, images: result.images.length, took })
  }
}
