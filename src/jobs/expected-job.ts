import type { A1111Client } from '../a1111/client.ts'
import type { PreparedConnection } from '../lib/http/connect.ts'
import type { ComingJob } from './coming-jobs.ts'
import type { Job } from './job.ts'
import type { PreparableJob, PreparedGeneration } from './prepare-generation.ts'

/** How long a job can take to come, in milliseconds; Redis answers within a few, except on a slow disk. */
const comesWithin = 1000

/** What a job finds that comes to an idle server. */
interface ReadyForJob {
  /** Close it if nothing is sent. */
  readonly over: PreparedConnection
  /** Null if it is still to be prepared. */
  readonly prepared: PreparedGeneration | null
}

/** Gets ready for a job that Redis stores or claims meanwhile: its connection is opened, and its request made. */
export interface ExpectedJob {
  /**
   * Only the first one until that one came. The connection closes if no job comes.
   * @param job null if it is not known which one comes: only the connection is opened
   */
  await (job: ComingJob | null): void
  /** What is ready for a job that came; a new connection if none was expected. */
  take (job: Job): Promise<ReadyForJob>
}

export interface ExpectedJobParts {
  readonly client: Pick<A1111Client, 'prepare'>
  readonly prepare: (job: PreparableJob) => Promise<PreparedGeneration>
  /** Aborted when no further job runs here. */
  readonly leaving: AbortSignal
}

export function createExpectedJob ({ client, prepare, leaving }: ExpectedJobParts): ExpectedJob {
  let expected: {
    readonly job: ComingJob | null
    readonly over: PreparedConnection
    readonly preparing: Promise<PreparedGeneration | null> | null
  } | null = null
  let timer: NodeJS.Timeout | undefined

  function leave () {
    clearTimeout(timer)
    const left = expected
    expected = null
    return left
  }

  const close = () => { leave()?.over.close() }
  leaving.addEventListener('abort', close, { once: true })
  return {
    await (job) {
      if (leaving.aborted || (expected !== null && (expected.job !== null || job === null))) return
      const over = leave()?.over ?? client.prepare()
      // Its fault shows when the job itself is prepared.
      const preparing = job === null ? null : prepare({ ...job, starts: 0, fixedCheckpoint: null }).catch(() => null)
      expected = { job, over, preparing }
      timer = setTimeout(close, comesWithin).unref()
    },
    async take (job) {
      const left = leave()
      if (left === null) return { over: client.prepare(), prepared: null }
      return { over: left.over, prepared: isSame(job, left.job) ? await left.preparing : null }
    }
  }
}

/**
 * Whether the job is the one of that submission. An edit gives it another run. A request that is repeated after a lost
 * answer has the same id, and can have another seed than the job that exists.
 */
function isSame ({ id, run, starts, submission }: Job, coming: ComingJob | null): boolean {
  return id === coming?.id && run === 1 && starts === 0 && submission.requestId === coming.submission.requestId &&
    submission.parameters.seed === coming.submission.parameters.seed
}
