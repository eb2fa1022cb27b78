import { stringifyJson } from '../../src/lib/exact-json.ts'
import type { EventView } from '../../schemas/event.ts'
import type { JobView } from '../../schemas/job.ts'
import type { ServiceEvent } from '../../src/events/event.ts'
import { removedAlias } from '../../src/jobs/job.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import { outputUrl, previewUrl } from '../api/render-job.ts'

/** Views of events for clients that reach the service under `base`. */
export interface EventViews {
  /** The same object for the same event, for any number of listeners. */
  of (event: ServiceEvent, base: string): EventView
  /** Its JSON text, rendered once. */
  text (event: ServiceEvent, base: string): string
}

export function createEventViews (registry: Pick<ServerRegistry, 'byId'>): EventViews {
  const views = new WeakMap<ServiceEvent, Map<string, { view: EventView, text: string }>>()

  function aliasOf (serverId: string): string | undefined {
    return registry.byId(serverId)?.alias
  }

  function render (
    { id, kind, jobId, serverId, keyId, status, moment: timestamp, data }: ServiceEvent, base: string
  ): EventView {
    const { alias, ...facts } = data
    const known = serverId === null ? null : aliasOf(serverId)
    return {
      id,
      kind,
      job_id: jobId,
      server: known === undefined ? typeof alias === 'string' ? alias : removedAlias : known,
      api_key_id: keyId,
      status,
      at: new Date(timestamp).toISOString(),
      data: {
        ...renderData(kind, facts, timestamp, base), ...(kind === 'preview' && jobId !== null ? { url: previewUrl(jobId, base, timestamp) } : {})
      }
    }
  }

  function renderData (
    kind: ServiceEvent['kind'], facts: Readonly<Record<string, unknown>>, timestamp: number, base: string
  ): Record<string, unknown> {
    return Object.fromEntries(Object.entries(facts).flatMap(([name, value]): Array<[string, unknown]> => {
      if (name === 'filename' && kind !== 'image-removed') return [[name, value], ['url', outputUrl(String(value), base)]]
      if (name === 'filenames') return [['images', imagesOf(value, base)]]
      if (name === 'from') return [[name, aliasOf(String(value)) ?? removedAlias]]
      if (name === 'fraction') return [['progress', value]]
      if (name === 'endsIn') return timesOf(timestamp, facts.startsIn, value)
      if (name === 'startsIn') return []
      if (name === 'seconds') return [['predicted_seconds', roundedOf(value)]]
      if (name === 'etaSeconds') return [['estimated_time_remaining', value]]
      return [[name, value]]
    }))
  }

  function of (event: ServiceEvent, base: string) {
    const ofEvent = views.get(event) ?? new Map<string, { view: EventView, text: string }>()
    const known = ofEvent.get(base)
    if (known !== undefined) return known
    const view = render(event, base)
    const made = { view, text: stringifyJson(view) }
    views.set(event, ofEvent.set(base, made))
    return made
  }

  return { of: (event, base) => of(event, base).view, text: (event, base) => of(event, base).text }
}

export const readyMessage = 'The stream is open; what happens after this id follows.'
export const resetMessage = 'Missed events are no longer stored: reload your lists.'

/** The stream's own message. @param id its position */
export function streamEvent (kind: 'ready' | 'reset', id: string, message: string): EventView {
  const at = new Date().toISOString()
  return { id, kind, job_id: null, server: null, api_key_id: null, status: null, at, data: { message } }
}

/** The present state of the job. @param id position of the stream before the job was read */
export function snapshotEvent (id: string, job: JobView): EventView {
  return {
    id,
    kind: 'snapshot',
    job_id: job.id,
    server: job.target_server_alias,
    api_key_id: job.api_key_id,
    status: job.status,
    at: new Date().toISOString(),
    data: { ...job }
  }
}

/** A job's expected start and end, under the field names of a job. */
function timesOf (timestamp: number, startsIn: unknown, endsIn: unknown): Array<[string, unknown]> {
  const inSeconds = (seconds: unknown) =>
    typeof seconds === 'number' ? new Date(timestamp + seconds * 1000).toISOString() : null
  return [
    ['eta_seconds', roundedOf(endsIn)],
    ['estimated_start_time', inSeconds(startsIn)],
    ['estimated_completion_time', inSeconds(endsIn)]
  ]
}

function roundedOf (seconds: unknown): number | null {
  return typeof seconds === 'number' ? Math.round(seconds * 10) / 10 : null
}

function imagesOf (names: unknown, base: string): Array<{ filename: string, url: string }> {
  return Array.isArray(names) ? names.map(name => ({ filename: String(name), url: outputUrl(String(name), base) })) : []
}
