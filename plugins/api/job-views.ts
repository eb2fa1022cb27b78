import type { JobFilterFields, JobView } from '../../schemas/job.ts'
import type { Estimates } from '../../src/jobs/estimates.ts'
import { type Job, removedAlias } from '../../src/jobs/job.ts'
import type { JobFilter } from '../../src/jobs/list.ts'
import type { JobStore } from '../../src/jobs/store.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import { renderJob } from './render-job.ts'

/** Views of jobs for clients, with alias, position and times looked up. */
export function createJobViews (store: JobStore, registry: ServerRegistry, estimates: Estimates) {
  async function many (jobs: readonly Job[]): Promise<JobView[]> {
    const placed = await Promise.all(jobs.map(async job =>
      ({ job, position: job.status === 'pending' ? await store.position(job) : null })))
    const expected = await estimates.of(placed)
    return placed.map(({ job, position }, index) => renderJob(job, {
      alias: registry.byId(job.serverId)?.alias ?? removedAlias, position, estimate: expected[index] ?? null
    }))
  }

  return {
    many,
    async one (job: Job): Promise<JobView> {
      const [view] = await many([job])
      return view as JobView
    }
  }
}

export type JobViews = ReturnType<typeof createJobViews>

/** Every spelling of the routes of jobs in clients and documents; `flat` is v1's form of one job's status. */
export const jobBases = [
  { base: '/api/v2/jobs', name: 'v2', status: 'wrapped' },
  { base: '/api/v2/queue/jobs', name: 'v2_queue', status: 'wrapped' },
  { base: '/api/v1/jobs', name: 'v1', status: 'flat' },
  { base: '/api/v1/queue/jobs', name: 'v1_queue', status: 'flat' }
] as const

/**
 * The time of a parameter in milliseconds since the epoch. The format also admits leap seconds, which JavaScript cannot
 * represent.
 * @param field name of the parameter, for the error
 */
export function momentOf (field: string, text: string): number {
  const timestamp = Date.parse(text)
  if (!Number.isNaN(timestamp)) return timestamp
  throw new ServiceError('invalid_field_value', `${field} must be a moment such as 2026-11-21T09:30:00Z.`, { field })
}

/**
 * The jobs that a list or an action concerns.
 * @param key id of the access key whose jobs the client can reach; undefined for those of all
 * @param place path of the fields, for errors, such as `filter.`
 * @throws ServiceError `server_not_found` or `invalid_field_value`, naming the field
 */
export function readJobFilter (
  fields: JobFilterFields, key: string | undefined, registry: Pick<ServerRegistry, 'require'>, place = ''
): JobFilter {
  const { status, user, app_type: appType, since, before, search } = fields
  const server = serverOf(fields, registry, place)
  return {
    ...(key === undefined ? {} : { keyId: key }),
    ...(server === undefined ? {} : { serverId: server }),
    ...(status === undefined ? {} : { status }),
    ...(user === undefined ? {} : { user: user.normalize('NFC').trim() }),
    ...(appType === undefined ? {} : { appType }),
    ...(since === undefined ? {} : { since: momentOf(`${place}since`, since) }),
    ...(before === undefined ? {} : { before: momentOf(`${place}before`, before) }),
    ...(search === undefined ? {} : { text: search })
  }
}

/** The id of the server from either of its names. */
function serverOf (
  { server, target_server_alias: target }: JobFilterFields, registry: Pick<ServerRegistry, 'require'>, place: string
): string | undefined {
  const one = server === undefined ? undefined : registry.require(server, `${place}server`).id
  const other = target === undefined ? undefined : registry.require(target, `${place}target_server_alias`).id
  if (one !== undefined && other !== undefined && one !== other) {
    throw new ServiceError('invalid_field_value', `${place}server and ${place}target_server_alias name two servers.`,
      { field: `${place}target_server_alias` })
  }
  return one ?? other
}
