import { findCheckpoint } from '../a1111/names.ts'
import type { Inventory } from '../a1111/types.ts'
import { familyOf, hasAnswered, isSimulator, isUnsuited } from '../servers/choose.ts'
import type { Server, ServerState } from '../servers/registry.ts'
import type { Job, JobSubmission, Needs } from './job.ts'
import { shortCheckpoint, shortDigest } from './workload.ts'

/** A class: the jobs with these needs. */
export interface JobClass {
  /** `<checkpoint, 8 hex digits or none>-<hash>` */
  readonly id: string
  /** JSON of `Needs`. */
  readonly needs: string
}

/** The needs of a job that has not run yet, or begins from the start. @param lacking servers that lack a name of it */
export function needsOf (
  { checkpoint, onMissing }: Pick<JobSubmission, 'checkpoint' | 'onMissing'>, target: string,
  { lacking = [], failed = [] }: Partial<Pick<Needs, 'lacking' | 'failed'>> = {}
): Needs {
  const isOpen = target === ''
  return {
    target,
    checkpoint,
    lacking: isOpen ? [...new Set(lacking)].sort() : [],
    failed: isOpen ? [...new Set(failed)].sort() : [],
    lenient: onMissing === 'ignore'
  }
}

export function classOf (needs: Needs, submission: Pick<JobSubmission, 'checkpoint' | 'checkpointTitle'>): JobClass {
  const text = JSON.stringify(needs)
  const checkpoint = shortCheckpoint(submission.checkpointTitle ?? needs.checkpoint)
  return { id: `${checkpoint}-${shortDigest(text, 10)}`, needs: text }
}

/** The needs of a stored class; null if it is not known any more. */
export function parseNeeds (text: string): Needs | null {
  return text === '' ? null : JSON.parse(text) as Needs
}

/** The needs of a job with those of its class that still apply. */
export function needsOfJob (job: Pick<Job, 'needs' | 'target' | 'submission'>): Needs {
  return job.needs ?? needsOf(job.submission, job.target)
}

/** A server with what is known of it. */
export interface KnownServer {
  readonly server: Server
  readonly state: ServerState | null
  /** What it offers; null if it never answered. */
  readonly inventory: Inventory | null
}

/** Whether a server takes jobs now, as far as known. */
function takesJobs ({ server, state }: Pick<KnownServer, 'server' | 'state'>): boolean {
  return server.enabled && !server.paused && !server.draining && state?.reachable === 'yes'
}

/**
 * Whether a server can run the jobs of a class.
 * @param others the other servers: whether they can run jobs decides about a simulator, and about a second try
 */
export function canRun (needs: Needs, one: KnownServer, others: readonly KnownServer[]): boolean {
  const { server, inventory } = one
  if (needs.target !== '') return needs.target === server.id
  if (inventory === null || standsAside(one, others)) return false
  const able = others.filter(other => other.server.enabled && offersAll(needs, other) &&
    !standsAside(other, [one, ...others]))
  // If no server has all names any more, a server takes the job and finds the error that says so.
  if (!offersAll(needs, one)) return able.length === 0
  if (needs.failed.includes(server.id) && able.some(rival =>
    !needs.failed.includes(rival.server.id) && takesJobs(rival))) return false
  const family = familyOf(needs.checkpoint)
  return !isUnsuited(one, family) || !able.some(rival => !isUnsuited(rival, family) && takesJobs(rival))
}

/** Whether it is a simulator, and a real server has answered at least once: its images are only tests. */
function standsAside ({ server, state }: KnownServer, others: readonly KnownServer[]): boolean {
  return isSimulator(server, state) && others.some(other =>
    other.server.enabled && hasAnswered(other.state) && !isSimulator(other.server, other.state))
}

/** Whether a server has everything that a class names, as far as known. */
function offersAll (needs: Needs, { server, inventory }: KnownServer): boolean {
  if (inventory === null || needs.lacking.includes(server.id)) return false
  if (needs.lenient || needs.checkpoint === null || inventory.missing.includes('checkpoints')) return true
  return findCheckpoint(needs.checkpoint, inventory) !== null
}
