import type { Test } from 'tap'
import { findProblems, readJobs, type Traces } from '../support/consistency.ts'
import type { Job } from '../../src/jobs/job.ts'

/** Checks the invariants of an idle service after any fault; returns its jobs. */
export async function checkInvariants (t: Test, accepted: Iterable<string>, traces: Traces): Promise<Map<string, Job>> {
  const jobs = await readJobs(traces)
  t.same(await findProblems(accepted, traces, jobs), [], 'every accepted job ended once, and everything agrees')
  return jobs
}
