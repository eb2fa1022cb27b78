import type { GenerationFailure } from '../a1111/types.ts'
import type { Log } from '../lib/logging.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { OpenSpan, Tracing } from '../telemetry/tracing.ts'
import type { Job } from './job.ts'
import type { StopReason } from './open-generation.ts'
import type { RunClaim } from './store.ts'

/** How a job finished here. */
export interface JobEnding {
  readonly status: string
  /** The code of its error, or empty. */
  readonly code: string
  readonly images: number
  /** Milliseconds since its last start; null if it produced nothing. */
  readonly took: number | null
}

/** Reports generations to operators: in the log, in the metrics, and in the job's trace. */
export interface GenerationTelemetry {
  /** The fields of every log line about a job. */
  about (job: Job): { job: string, request?: string, server: string }
  /**
   * Opens the span of the generation in the job's trace. The waiting time is a span of its own, reported once it is
   * over.
   */
  begin (claim: RunClaim, job: Job, startedAt: number): OpenSpan
  /** @param idle milliseconds for which the server was idle although this job waited; null if it was not */
  sent (claim: RunClaim, job: Job, idle: number | null): void
  failed (job: Job, failure: GenerationFailure, stopReason: StopReason | null): void
  ended (job: Job, ending: JobEnding): void
}

export interface GenerationTelemetryDependencies {
  /** Alias of the server as it is now. */
  readonly alias: () => string
  readonly log: Log
  readonly metrics: Metrics
  readonly tracing: Tracing
}

export function createGenerationTelemetry (
  { alias, log, metrics, tracing }: GenerationTelemetryDependencies
): GenerationTelemetry {
  const about: GenerationTelemetry['about'] = ({ id, submission: { requestId } }) =>
    ({ job: id, ...(requestId === undefined ? {} : { request: requestId }), server: alias() })

  return {
    about,
    begin ({ run }, { id, starts, createdAt, updatedAt, submission }, startedAt) {
      const parent = submission.trace ?? null
      const attributes = { 'stablequeue.job': id, 'stablequeue.server': alias(), 'stablequeue.run': run }
      const since = Math.min(starts === 0 ? createdAt : updatedAt, startedAt)
      tracing.begin('wait in line', { kind: 'internal', parent, attributes, startedAt: since }).end()
      return tracing.begin('generation', { kind: 'consumer', parent, attributes, startedAt })
    },
    sent ({ run }, job, idle) {
      log.info({ ...about(job), run }, 'generation started')
      // never negative: the clock can be set back
      const waited = job.starts === 0 ? Math.max(0, Date.now() - job.createdAt) : null
      metrics.generationStarted({ server: alias(), waited })
      if (idle !== null) metrics.serverIdle({ server: alias(), gap: idle })
    },
    failed (job, { code, message, failureClass }, stopReason) {
      const seen = { ...about(job), code, error: message }
      if (stopReason !== null) {
        log.info({ ...seen, stopReason }, 'generation stopped')
        return
      }
      log.warn(seen, 'generation failed')
      metrics.generationFailed({ server: alias(), failureClass, code })
    },
    ended (job, { status, code, images, took }) {
      const known = { ...(code === '' ? {} : { code }), ...(took === null ? {} : { ms: took }) }
      log.info({ ...about(job), status, images, ...known }, `job ${status}`)
      metrics.jobEnded({ server: alias(), status, code, took })
    }
  }
}
