import type { JobStatus } from '../../schemas/job-status.ts'

/** The four words that clients of this interface know. */
export const studioStates = {
  pending: 'queued', processing: 'processing', completed: 'completed', failed: 'failed', cancelled: 'failed'
} as const satisfies Record<JobStatus, string>

/** A moment as these clients parse it: UTC with microseconds and without an offset, which older Pythons cannot read. */
export function studioTime (moment: number): string {
  return `${new Date(moment).toISOString().slice(0, -1)}000`
}
