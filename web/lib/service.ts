import type { SessionView as Who } from '../../schemas/session.ts'
import type {
  ApiKeyCreation, ApiKeyUpdate, CheckView, Delivery, History, Inventory, IssuedKey, Job, JobAccepted, JobAction,
  JobDone, JobOverview, JobPage, JobPatch, JobQuery, JobRequest, JobsDone, Key, ListedJob, Message,
  ParametersToRead, ReadFromImage, Server, ServerChanged, ServerCheckOptions, ServerInput, ServerTested,
  ServerUpdate, ShortJob
} from './api-types.ts'
import { ask, pathOf } from './api.ts'
import { follow } from './followed.ts'
import { queryOf } from './query.ts'

/** Routes that the pages use, one function each; larger areas have files of their own. */

const jobsPath = '/api/v2/jobs'
const serversPath = '/api/v1/servers'
const keysPath = '/api/v1/api-keys'

export const session = {
  read: () => ask<Who>('GET', '/ui/session'),
  open: (token: string) => ask<null>('POST', '/ui/session', { body: { token } }),
  end: () => ask<null>('DELETE', '/ui/session')
}

/** The answer to a new key or secret, which it holds for the only time. */
export interface IssuedSecrets {
  readonly key: string
  readonly secret: string
  readonly api_key: IssuedKey
}

export type { Who }

/** The first view of the queue. */
export interface QueueOverview {
  readonly totals: JobOverview['totals']
  readonly groups: Readonly<Record<'processing' | 'pending' | 'ended', ListedJob[]>>
}

/** A short job under the names of a whole one, so that both have the same parts. */
export function jobOfList (
  { alias, created_at: created, started_at: started, finished_at: finished, ...job }: ShortJob & Pick<ListedJob, 'place'>
): ListedJob {
  const { prompt, mode, size, steps, position, progress, eta, starts_at: startsAt } = job
  const [width, height] = size?.split('x').map(Number) ?? []
  return {
    ...job,
    target_server_alias: alias,
    creation_timestamp: created,
    started_timestamp: started,
    completion_timestamp: finished,
    generation_params: { prompt, width, height, steps: steps ?? undefined, ...mode === 'txt2img' ? {} : { init_images: [] } },
    queue_position: position,
    progress_percentage: progress * 100,
    step: null,
    eta_seconds: eta,
    estimated_start_time: startsAt
  }
}

/** Browsers open six connections to one address, and the first picture of a running job can take one for seconds. */
const picturesAtOnce = 2

/** Rows of a list, of which only some fetch the picture of what runs at once; the others get it with the next event. */
export function rowsOf (found: ReadonlyArray<Parameters<typeof jobOfList>[0]>): ListedJob[] {
  const first = found.filter(job => job.preview_url !== null).slice(0, picturesAtOnce)
  return found.map(job => jobOfList(first.includes(job) ? job : { ...job, preview_url: null }))
}

export const jobs = {
  /** A page of jobs, with only what a list shows. */
  async list (query: Partial<JobQuery>, signal?: AbortSignal) {
    const page = await ask<JobPage>('GET', `${jobsPath}?${queryOf({ ...query, view: 'short' })}`, { signal })
    return { ...page, jobs: rowsOf(page.jobs) }
  },
  /** Counts, and the jobs that the first view shows. @param server empty: all */
  async overview (server: string, signal: AbortSignal): Promise<QueueOverview> {
    const found = await ask<JobOverview>('GET', `${jobsPath}/overview?${queryOf({ server })}`, { signal })
    return {
      totals: found.totals,
      groups: {
        processing: rowsOf(found.running),
        pending: found.waiting.map(jobOfList),
        ended: found.finished.map(jobOfList)
      }
    }
  },
  read: async (id: string, signal?: AbortSignal) => (await ask<{ job: Job }>('GET', pathOf(jobsPath, id), { signal })).job,
  /** @param key of this wish: a repeat with it makes no second job */
  async submit (request: JobRequest, key: string) {
    const accepted = await ask<JobAccepted>('POST', '/api/v2/generate', { body: request, key })
    follow(accepted.id)
    return accepted
  },
  cancel: (id: string) => ask<JobDone>('POST', `${pathOf(jobsPath, id)}/cancel`),
  async retry (id: string) {
    const done = await ask<JobDone>('POST', `${pathOf(jobsPath, id)}/retry`)
    follow(id)
    return done
  },
  runNow: (id: string) => ask<JobDone>('POST', `${pathOf(jobsPath, id)}/run-now`),
  remove: (id: string) => ask<Message>('DELETE', pathOf(jobsPath, id)),
  /** @param change position of a waiting job */
  change: (id: string, change: JobPatch) => ask<JobDone>('PATCH', pathOf(jobsPath, id), { body: change }),
  async act (request: JobAction) {
    const done = await ask<JobsDone>('POST', `${jobsPath}/actions`, { body: request })
    if (request.action === 'retry') follow(...done.ids)
    return done
  },
  /**
   * Counts the jobs that such an action affects, in the form that `act` accepts.
   */
  async count (request: JobAction) {
    const { count, created_before: before } = await ask<JobsDone>('POST', `${jobsPath}/actions`, {
      body: { ...request, dry_run: true }
    })
    return { expected: count, created_before: before }
  },
  deliveries: async (id: string, signal: AbortSignal) => (await ask<{ deliveries: Delivery[] }>('GET', `${pathOf(jobsPath, id)}/webhooks`, { signal })).deliveries
}

/** The parameters in an image or infotext. */
export const readParameters = (source: ParametersToRead) => ask<ReadFromImage>('POST', '/api/v1/read-parameters', { body: source })

export const servers = {
  list: (signal: AbortSignal) => ask<Server[]>('GET', serversPath, { signal }),
  inventory: (alias: string, signal: AbortSignal) => ask<Inventory>('GET', `${pathOf(serversPath, alias)}/inventory`, { signal }),
  add: (server: ServerInput) => ask<ServerChanged>('POST', serversPath, { body: server }),
  change: (alias: string, changes: ServerUpdate) => ask<ServerChanged>('PUT', pathOf(serversPath, alias), { body: changes }),
  test: (alias: string) => ask<ServerTested>('POST', `${pathOf(serversPath, alias)}/test`),
  history: (alias: string, signal: AbortSignal) => ask<History>('GET', `${pathOf(serversPath, alias)}/history`, { signal }),
  pause: (alias: string, reason: string) => ask<ServerChanged>('POST', `${pathOf(serversPath, alias)}/pause`, { body: { reason } }),
  drain: (alias: string) => ask<ServerChanged>('POST', `${pathOf(serversPath, alias)}/drain`),
  resume: (alias: string) => ask<ServerChanged>('POST', `${pathOf(serversPath, alias)}/resume`),
  remove: (alias: string, query: {
    jobs?: string
    to?: string
    expected?: number
  } = {}) => ask<Message>('DELETE', `${pathOf(serversPath, alias)}?${queryOf(query)}`),
  check: (alias: string, options: ServerCheckOptions) => ask<CheckView>('POST', `${pathOf(serversPath, alias)}/check`, { body: options }),
  readCheck: (alias: string, signal: AbortSignal) => ask<CheckView>('GET', `${pathOf(serversPath, alias)}/check`, { signal }),
  cancelCheck: (alias: string) => ask<CheckView>('DELETE', `${pathOf(serversPath, alias)}/check`)
}

export const apiKeys = {
  list: async (signal: AbortSignal) => (await ask<{ api_keys: Key[] }>('GET', keysPath, { signal })).api_keys,
  create: (key: ApiKeyCreation) => ask<IssuedSecrets>('POST', keysPath, { body: key }),
  change: (id: string, changes: ApiKeyUpdate) => ask<Message>('PUT', pathOf(keysPath, id), { body: changes }),
  rotate: (id: string, graceHours: number) => ask<IssuedSecrets>('POST', `${pathOf(keysPath, id)}/rotate`, { body: { grace_hours: graceHours } }),
  remove: (id: string) => ask<Message>('DELETE', pathOf(keysPath, id))
}
