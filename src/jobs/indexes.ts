import type { JobStatus } from '../../schemas/job-status.ts'
import type { Keys } from '../redis/keys.ts'

/** What the indexes can be asked for; what is left out may be anything. */
export interface IndexFilter {
  readonly keyId?: string
  readonly serverId?: string
  readonly status?: JobStatus
}

/** The sorted set of all jobs that fit a filter, scored by arrival. The scripts write under the same names. */
export function indexKey (keys: Keys, { keyId = '*', serverId = '*', status }: IndexFilter): string {
  return keys.key('jobs', keyId, serverId, status ?? '*')
}
