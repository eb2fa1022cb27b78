import type { SessionView } from '../../schemas/session.ts'
import type { AccessKeys } from '../access/keys.ts'
import { type Principal, seesAllJobs } from '../access/principal.ts'
import type { RateLimiter } from '../access/rate-limit.ts'
import { iso } from '../lib/text.ts'
import type { JobList } from './list.ts'

export interface UsageDependencies {
  readonly list: Pick<JobList, 'count' | 'now'>
  readonly accessKeys: Pick<AccessKeys, 'get'>
  readonly limiter: Pick<RateLimiter, 'look'>
  /** Waiting jobs that one access key can have. */
  readonly waitingPerKey: number
}

/** The limits of a caller, and what it used of them: of its own jobs, or of all jobs if it has no key. */
export type UsageReader = (principal: Principal) => Promise<Pick<SessionView, 'limits' | 'usage'>>

const dayMs = 86_400_000

export function createUsageReader ({ list, accessKeys, limiter, waitingPerKey }: UsageDependencies): UsageReader {
  async function countsOf (principal: Principal, since: number): Promise<[number, number, number]> {
    const { keyId } = principal
    if (keyId === null && !seesAllJobs(principal)) return [0, 0, 0]
    const own = keyId === null ? {} : { keyId }
    return await Promise.all([
      list.count({ ...own, since }), list.count({ ...own, status: 'pending' }), list.count({ ...own, status: 'processing' })
    ])
  }

  return async principal => {
    const { keyId, ratePerMinute: rate } = principal
    const timestamp = await list.now()
    const since = timestamp - timestamp % dayMs
    const [[today, waiting, running], key, allowance] = await Promise.all([
      countsOf(principal, since),
      keyId === null ? null : accessKeys.get(keyId),
      keyId === null || rate === null ? null : limiter.look(keyId, 'requests', rate)
    ])
    return {
      limits: {
        requests_per_minute: keyId === null ? null : rate,
        waiting_jobs: keyId === null ? null : waitingPerKey,
        share_weight: key?.shareWeight ?? null,
        background: key?.background ?? false
      },
      usage: {
        today_since: iso(since),
        jobs_today: today,
        waiting,
        running,
        waiting_left: keyId === null ? null : Math.max(0, waitingPerKey - waiting),
        requests_left: allowance?.remaining ?? null,
        requests_full_at: allowance === null ? null : iso(timestamp + allowance.resetSeconds * 1000)
      }
    }
  }
}
