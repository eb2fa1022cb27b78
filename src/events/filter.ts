import { eventKinds, type EventKind } from '../../schemas/event.ts'
import { jobStatuses, type JobStatus } from '../../schemas/job.ts'
import { nearest } from '../a1111/names.ts'
import { keyToShow, mayDo, type Principal, seesAllJobs } from '../access/principal.ts'
import { ServiceError } from '../lib/errors.ts'
import type { ServiceEvent } from './event.ts'

/** A listener's options, as sent. Lists are joined by commas. */
export interface EventRequest {
  readonly server?: string | undefined
  readonly key?: string | undefined
  readonly status?: string | undefined
  readonly kinds?: string | undefined
  readonly job?: string | undefined
}

/** Whether a listener wants previews, which cost servers some time. */
export function wantsPreviews ({ kinds = '' }: EventRequest): boolean {
  return split(kinds).includes('preview')
}

/** Finds servers by their aliases. */
export interface KnownServers {
  /** @throws ServiceError `server_not_found` naming the field */
  require (alias: string, field: string): { readonly id: string }
}

/** Whether a listener gets an event. */
export type EventFilter = (event: ServiceEvent) => boolean

/** Everything that a filter depends on, as plain data: listeners with an equal one get the same events. */
export interface Audience {
  /** Ids of the servers; null for all, as of the next three. */
  readonly servers: readonly string[] | null
  readonly statuses: readonly JobStatus[] | null
  readonly kinds: readonly EventKind[] | null
  /** Key whose jobs are shown; never null without the right to see those of all. */
  readonly key: string | null
  readonly job: string | null
  /** Whether it asked for the jobs of one key only. */
  readonly onlyJobs: boolean
  readonly seesAll: boolean
  readonly readsServers: boolean
  readonly readsModels: boolean
}

/**
 * @throws ServiceError `server_not_found`, `invalid_field_value` or `permission_denied`, naming the field
 */
export function audienceOf (requested: EventRequest, principal: Principal, registry: KnownServers): Audience {
  const { server, status, kinds, job } = requested
  return {
    servers: server === undefined ? null : split(server).map(alias => registry.require(alias, 'server').id),
    statuses: status === undefined ? null : choose<JobStatus>('status', status, jobStatuses),
    kinds: kinds === undefined ? null : choose<EventKind>('kinds', kinds, eventKinds),
    key: keyToShow(principal, requested.key) ?? null,
    job: job ?? null,
    onlyJobs: requested.key !== undefined,
    seesAll: seesAllJobs(principal),
    readsServers: mayDo(principal, 'servers:read'),
    readsModels: mayDo(principal, 'models:read')
  }
}

export function createEventFilter (audience: Audience): EventFilter {
  const { key, job, onlyJobs, seesAll, readsServers, readsModels } = audience
  const servers = audience.servers === null ? null : new Set(audience.servers)
  const statuses = audience.statuses === null ? null : new Set(audience.statuses)
  const kinds = audience.kinds === null ? null : new Set(audience.kinds)

  return event => {
    if (kinds === null ? event.kind === 'delivery' : !kinds.has(event.kind)) return false
    if (job !== null && event.jobId !== job) return false
    if (statuses !== null && (event.status === null || !statuses.has(event.status))) return false
    if (servers !== null && !isOf(event, servers)) return false
    // The length of a server's queue counts the jobs of all.
    if (event.kind === 'queue' && !seesAll) return false
    if (event.jobId === null && event.kind !== 'delivery') {
      return !onlyJobs && (isOfModels(event) ? readsModels : readsServers)
    }
    return key === null ? seesAll : event.keyId === key
  }
}

function isOfModels ({ kind }: ServiceEvent): boolean {
  return kind.startsWith('download-') || kind === 'models-scanned' || kind === 'scan-progress'
}

/** A job that moves concerns the server that it leaves, too. */
function isOf ({ serverId, data }: ServiceEvent, servers: ReadonlySet<string>): boolean {
  return (serverId !== null && servers.has(serverId)) || (typeof data.from === 'string' && servers.has(data.from))
}

function split (text: string): string[] {
  return text.split(',').map(part => part.trim()).filter(part => part !== '')
}

function choose<Value extends string> (field: string, text: string, allowed: readonly Value[]): Value[] {
  return split(text).map(given => {
    const found = allowed.find(value => value === given)
    if (found !== undefined) return found
    throw new ServiceError('invalid_field_value',
      `${field} has no ${JSON.stringify(given.slice(0, 60))}; allowed are ${allowed.join(', ')}.`,
      { field, nearest: nearest(given, allowed, 3) })
  })
}
