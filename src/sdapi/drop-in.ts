import type { House } from '../house.ts'
import type { JobNotices } from '../jobs/notices.ts'
import type { Submitter } from '../jobs/submit.ts'
import { createCallerJobs, type CallerJobs } from './callers.ts'
import { createServerFaces, type ServerFaces } from './faces.ts'
import { createOptionsDesk, type OptionsDesk } from './options.ts'
import { createOwnOptions, type OwnOptionsStore } from './own-options.ts'
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
  readonly shortIds: ShortIds
  close (): Promise<void>
}

export function createDropIn (house: House, submitter: Submitter, notices: JobNotices): DropIn {
  const { redis, keys, registry, states, store, connect } = house
  const faces = createServerFaces({ registry, states, connect })
  const own = createOwnOptions(redis, keys)
  return {
    house,
    submitter,
    notices,
    faces,
    own,
    options: createOptionsDesk({ faces, own, registry, states }),
    callerJobs: createCallerJobs(redis, keys, store),
    shortIds: createShortIds(redis, keys),
    close: faces.close
  }
}
