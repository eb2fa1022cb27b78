import { eventKinds, type EventKind } from '../../schemas/event.ts'
import { jobStatuses, type JobStatus } from '../../schemas/job.ts'
import { nearest } from '../a1111/names.ts'
import { keyToShow, mayDo, maySeeJob, type Principal, seesAllJobs } from '../access/principal.ts'
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

/**
 * @throws ServiceError `server_not_found`, `invalid_field_value` or `permission_denied`, naming the field
 */
export function createEventFilter (
  requested: EventRequest, principal: Principal, registry: KnownServers
): EventFilter {
  const servers = requested.server === undefined
    ? null
    : new Set(split(requested.server).map(alias => registry.require(alias, 'server').id))
  const statuses = requested.status === undefined ? null : choose<JobStatus>('status', requested.status, jobStatuses)
  const kinds = requested.kinds === undefined ? null : choose<EventKind>('kinds', requested.kinds, eventKinds)
  const key = keyToShow(principal, requested.key)
  const { job } = requested

  return event => {
    if (kinds === null ? event.kind === 'delivery' : !kinds.has(event.kind)) return false
    if (job !== undefined && event.jobId !== job) return false
    if (statuses !== null && (event.status === null || !statuses.has(event.status))) return false
    if (servers !== null && !isOf(event, servers)) return false
    // The length of a server's queue counts the jobs of all.
    if (event.kind === 'queue' && !seesAllJobs(principal)) return false
    if (event.jobId === null && event.kind !== 'delivery') return requested.key === undefined && mayDo(principal, scopeOf(event))
    return (key === undefined || event.keyId === key) && maySeeJob(principal, event.keyId)
  }
}

function scopeOf ({ kind }: ServiceEvent): 'servers:read' | 'models:read' {
  return kind.startsWith('download-') || kind === 'models-scanned' || kind === 'scan-progress' ? 'models:read' : 'servers:read'
}

/** A job that moves concerns the server that it leaves, too. */
function isOf ({ serverId, data }: ServiceEvent, servers: ReadonlySet<string>): boolean {
  return (serverId !== null && servers.has(serverId)) || (typeof data.from === 'string' && servers.has(data.from))
}

function split (text: string): string[] {
  return text.split(',').map(part => part.trim()).filter(part => part !== '')
}

function choose<Value extends string> (field: string, text: string, allowed: readonly Value[]): Set<Value> {
  return new Set(split(text).map(given => {
    const found = allowed.find(value => value === given)
    if (found !== undefined) return found
    throw new ServiceError('invalid_field_value',
      `${field} has no ${JSON.stringify(given.slice(0, 60))}; allowed are ${allowed.join(', ')}.`,
      { field, nearest: nearest(given, allowed, 3) })
  }))
}
