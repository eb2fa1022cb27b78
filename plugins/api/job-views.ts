import type { JobFilterFields, JobView, ShortJobView } from '../../schemas/job.ts'
import { type Estimates, noOutlook } from '../../src/jobs/estimates.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { JobFilter } from '../../src/jobs/list.ts'
import type { AheadOf } from '../../src/jobs/store.ts'
import { aliasOf } from '../../src/jobs/job.ts'
import { mayDo, type Principal } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import type { Server, ServerRegistry } from '../../src/servers/registry.ts'
import { type JobSurroundings, renderJob, renderShortJob } from './render-job.ts'

/** Views of jobs for clients, with alias, position and times looked up. */
export function createJobViews (registry: ServerRegistry, estimates: Estimates) {
  type Render<View> = (job: Job, surroundings: JobSurroundings) => View

  async function render<View> (jobs: readonly Job[], one: Render<View>): Promise<View[]> {
    const outlooks = await estimates.of(jobs)
    return jobs.map((job, index) =>
      one(job, { alias: aliasOf(registry, job.serverId), ...outlooks[index] ?? noOutlook }))
  }

  async function many (jobs: readonly Job[]): Promise<JobView[]> {
    return await render(jobs, renderJob)
  }

  return {
    many,
    /** What a list shows of them. */
    async short (jobs: readonly Job[]): Promise<ShortJobView[]> {
      return await render(jobs, renderShortJob)
    },
    async one (job: Job): Promise<JobView> {
      const [view] = await many([job])
      return view as JobView
    }
  }
}

export type JobViews = ReturnType<typeof createJobViews>

/** Whose jobs a client's can overtake: everybody's only with `queue:admin`. */
export function aheadOf (principal: Principal): AheadOf {
  return mayDo(principal, 'queue:admin') ? 'everybody' : 'own'
}

/** The server that a name means; null for any, which clients call `default`. @throws ServiceError `server_not_found` */
export function targetOf (
  registry: Pick<ServerRegistry, 'byAlias' | 'require'>, name: string, field: string
): Server | null {
  const isOpen = name.trim().toLowerCase() === 'default' && registry.byAlias('default') === undefined
  return isOpen ? null : registry.require(name, field)
}

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
  fields: JobFilterFields, key: string | undefined, registry: Pick<ServerRegistry, 'byAlias' | 'require' | 'list'>, place = ''
): JobFilter {
  const { status, user, app_type: appType, since, before, search } = fields
  const server = serverOf(fields, registry, place)
  return {
    ...(key === undefined ? {} : { keyId: key }),
    ...(server === undefined || (status === 'pending' && isOnly(server, registry)) ? {} : { serverId: server }),
    ...(status === undefined ? {} : { status }),
    ...(user === undefined ? {} : { user: user.normalize('NFC').trim() }),
    ...(appType === undefined ? {} : { appType }),
    ...(since === undefined ? {} : { since: momentOf(`${place}since`, since) }),
    ...(before === undefined ? {} : { before: momentOf(`${place}before`, before) }),
    ...(search === undefined ? {} : { text: search })
  }
}

/** Jobs that wait for any server wait for the only one. */
function isOnly (serverId: string, registry: Pick<ServerRegistry, 'list'>): boolean {
  const enabled = registry.list().filter(server => server.enabled)
  return enabled.length === 1 && enabled[0]?.id === serverId
}

/** The id of the server from either of its names; empty for jobs that any server can take. */
function serverOf (
  { server, target_server_alias: target }: JobFilterFields, registry: Pick<ServerRegistry, 'byAlias' | 'require'>,
  place: string
): string | undefined {
  const one = server === undefined ? undefined : targetOf(registry, server, `${place}server`)?.id ?? ''
  const other = target === undefined ? undefined : targetOf(registry, target, `${place}target_server_alias`)?.id ?? ''
  if (one !== undefined && other !== undefined && one !== other) {
    throw new ServiceError('invalid_field_value', `${place}server and ${place}target_server_alias name two servers.`,
      { field: `${place}target_server_alias` })
  }
  return one ?? other
}
