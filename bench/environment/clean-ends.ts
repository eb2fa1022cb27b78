import type { Caller } from './caller.ts'
import { until } from './until.ts'

interface Ended {
  readonly id: string
  readonly status: string
  readonly warnings: ReadonlyArray<{ readonly message: string }>
}

/**
 * Waits until the last so many jobs are completed.
 * @throws Error where one ended otherwise or with a warning: then something else was measured than jobs that go well
 */
export async function requireCleanEnds (caller: Caller, count: number): Promise<void> {
  await until(async () => {
    const { jobs } = await caller.get(`/api/v2/jobs?limit=${count}`) as { jobs: readonly Ended[] }
    for (const { id, status, warnings: [warning] } of jobs) {
      if (warning !== undefined) throw new Error(`job ${id} ended with a warning: ${warning.message}`)
      if (status === 'failed' || status === 'cancelled') throw new Error(`job ${id} is ${status}`)
    }
    return jobs.length === count && jobs.every(({ status }) => status === 'completed')
  }, `${count} jobs are completed`)
}
