import { ServiceError } from '../errors.ts'
import type { JobList, JobQuery } from './list.ts'
import type { JobStore } from './store.ts'

/** What can be done with many jobs at once. */
export type ManyAction = 'cancel' | 'retry' | 'run-now' | 'move' | 'delete'

/** That, and for a move the id of the server that takes them. */
export type ManyOrder =
  | { readonly action: Exclude<ManyAction, 'move'> }
  | { readonly action: 'move', readonly serverId: string }

export interface ManyOutcome {
  readonly done: number
  readonly refused: ReadonlyArray<{ readonly id: string, readonly error: ServiceError }>
}

export interface ManyJobs {
  /**
   * Does something with each of the jobs; what cannot be done with one keeps none of the others from it.
   * @param allowed whether the caller may do this with a job of this owner; another's job is one that is not there
   */
  act (order: ManyOrder, ids: readonly string[], allowed: (owner: string | null) => boolean): Promise<ManyOutcome>
  /** Ids of the jobs that fit now, at most `mostJobs` of them. */
  fitting (query: Omit<JobQuery, 'order' | 'limit' | 'offset' | 'cursor'>): Promise<string[]>
}

/** Most jobs of one filter that one call acts on. */
export const mostJobs = 20_000

const readAtOnce = 500
const actAtOnce = 8

export interface ManyJobsDependencies {
  readonly store: JobStore
  readonly list: JobList
  /** Deletes an ended job with its files. */
  readonly remove: (jobId: string) => Promise<void>
}

export function createManyJobs ({ store, list, remove }: ManyJobsDependencies): ManyJobs {
  const acts: Readonly<Record<Exclude<ManyAction, 'move'>, (id: string) => Promise<unknown>>> = {
    cancel: store.cancel,
    retry: store.retry,
    'run-now': store.runNow,
    async delete (id) {
      if ((await store.get(id)).status === 'pending') await store.cancel(id).catch(unlessEnded)
      await remove(id)
    }
  }

  return {
    async act (order, ids, allowed) {
      const apply = order.action === 'move' ? async (id: string) => { await store.move(id, order.serverId) } : acts[order.action]
      const refused: Array<{ id: string, error: ServiceError }> = []
      let done = 0

      async function actOn (id: string): Promise<void> {
        try {
          const job = await store.find(id)
          if (job === null || !allowed(job.keyId)) {
            throw new ServiceError('job_not_found', `There is no job ${id}.`, { job_id: id })
          }
          await apply(id)
          done++
        } catch (error) {
          if (!(error instanceof ServiceError)) throw error
          refused.push({ id, error })
        }
      }

      const unique = [...new Set(ids)]
      // Each goes ahead of all others, so the last one comes first, and they keep their order.
      if (order.action === 'run-now') for (const id of unique.reverse()) await actOn(id)
      else await eachOf(unique, actAtOnce, actOn)
      return { done, refused }
    },
    async fitting (query) {
      const ids: string[] = []
      let cursor: string | undefined
      do {
        const page = await list.page({
          ...query, order: 'oldest', limit: readAtOnce, offset: 0, ...(cursor === undefined ? {} : { cursor })
        })
        ids.push(...page.jobs.map(({ id }) => id))
        cursor = page.nextCursor ?? undefined
      } while (cursor !== undefined && ids.length < mostJobs)
      return ids.slice(0, mostJobs)
    }
  }
}

/** Works through a list, so many at a time. */
async function eachOf<Value> (
  values: readonly Value[], atOnce: number, work: (value: Value) => Promise<void>
): Promise<void> {
  const rest = values.values()
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (const value of rest) await work(value)
  }))
}

function unlessEnded (error: unknown): void {
  if (!(error instanceof ServiceError && error.code === 'job_operation_invalid')) throw error
}
