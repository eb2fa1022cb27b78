import type { FlorenceDesk } from '../florence/desk.ts'
import type { House } from '../house.ts'
import type { JobNotices } from '../jobs/notices.ts'
import type { Submitter } from '../jobs/submit.ts'
import { realPause, type Pause } from './answer.ts'
import { createCallerJobs, type CallerJobs } from './callers.ts'
import { createErrands, type Errands } from './errands.ts'
import { createServerFaces, type ServerFaces } from './faces.ts'
import { createJobSearch, type JobSearch } from './job-search.ts'
import { createOptionsDesk, type OptionsDesk } from './options.ts'
import { createOwnOptions, type OwnOptionsStore } from './own-options.ts'
import { createPassThrough, type PassThrough } from './pass-through.ts'
import { createOutcomes, type Outcomes } from './outcome.ts'
import { createTurns } from '../servers/turns.ts'
import { createCallerTasks, type CallerTasks } from './tasks.ts'
import { createShortIds, type ShortIds } from './short-ids.ts'

/** What stands behind the routes of the drop-in. */
export interface DropIn {
  readonly house: House
  readonly submitter: Submitter
  readonly notices: JobNotices
  readonly faces: ServerFaces
  readonly own: OwnOptionsStore
  readonly options: OptionsDesk
  readonly callerJobs: CallerJobs
  readonly callerTasks: CallerTasks
  readonly outcomes: Outcomes
  readonly shortIds: ShortIds
  readonly search: JobSearch
  readonly errands: Errands
  /** Null where none is configured. */
  readonly florence: FlorenceDesk | null
  readonly passThrough: PassThrough
  /** Between two blanks of an answer that waits. */
  readonly pause: Pause
  close (): Promise<void>
}

export interface DropInDependencies {
  readonly house: House
  readonly submitter: Submitter
  readonly notices: JobNotices
  /** Fires when the service begins to stop. */
  readonly stopping: AbortSignal
  /** Real time unless a test says otherwise. */
  readonly pause?: Pause | undefined
}

export async function createDropIn (
  { house, submitter, notices, stopping, pause = realPause }: DropInDependencies
): Promise<DropIn> {
  const { redis, subscriber, keys, registry, states, store, list, config, connect, media } = house
  const faces = createServerFaces({ registry, states, waitingOn: store.waitingOn, connect })
  const turns = await createTurns({ redis, subscriber, keys })
  const florence = house.florence?.desk ?? null
  const errands = createErrands(house.models.downloads, florence)
  const own = createOwnOptions(redis, keys)
  const callerJobs = createCallerJobs(redis, keys, store)
  return {
    house,
    submitter,
    notices,
    faces,
    own,
    options: createOptionsDesk({ faces, own, registry, states }),
    callerJobs,
    outcomes: createOutcomes({ notices, media, callerJobs, stopping }),
    callerTasks: createCallerTasks(redis, keys),
    shortIds: createShortIds(redis, keys),
    search: createJobSearch(list, errands),
    errands,
    florence,
    pause,
    passThrough: createPassThrough({
      faces,
      turns,
      timeoutMs: config.JOB_TIMEOUT_SECONDS * 1000,
      maxAnswerBytes: config.RESULT_MAX_MIB * 1024 * 1024
    }),
    async close () {
      turns.close()
      await faces.close()
    }
  }
}
