import { ask, pathOf } from './api.js'
import { queryOf } from './query.js'

/** Routes that the pages use, one function each; larger areas have files of their own. */

const jobsPath = '/api/v2/jobs'
const serversPath = '/api/v1/servers'
const keysPath = '/api/v1/api-keys'

export const session = {
  read: () => ask('GET', '/ui/session'),
  open: token => ask('POST', '/ui/session', { body: { token } }),
  end: () => ask('DELETE', '/ui/session')
}

/** A short job under the names of a whole one, so that both have the same parts. */
function jobOfList ({ alias, created_at: created, started_at: started, finished_at: finished, ...job }) {
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

export const jobs = {
  /** A page of jobs, with only what a list shows. @param {Record<string, string | number | undefined>} query */
  async list (query, signal) {
    const page = await ask('GET', `${jobsPath}?${queryOf({ ...query, view: 'short' })}`, { signal })
    return { ...page, jobs: page.jobs.map(jobOfList) }
  },
  read: async (id, signal) => (await ask('GET', pathOf(jobsPath, id), { signal })).job,
  submit: request => ask('POST', '/api/v2/generate', { body: request }),
  cancel: id => ask('POST', `${pathOf(jobsPath, id)}/cancel`),
  retry: id => ask('POST', `${pathOf(jobsPath, id)}/retry`),
  runNow: id => ask('POST', `${pathOf(jobsPath, id)}/run-now`),
  remove: id => ask('DELETE', pathOf(jobsPath, id)),
  /** @param {{ priority?: number, before?: string, server?: string }} change position of a waiting job */
  change: (id, change) => ask('PATCH', pathOf(jobsPath, id), { body: change }),
  /**
   * @param {{ action: string, server?: string, ids?: string[], filter?: object, all?: boolean, expected?: number,
   *   created_before?: string }} request
   */
  act: request => ask('POST', `${jobsPath}/actions`, { body: request }),
  /**
   * Counts the jobs that such an action affects, in the form that `act` accepts.
   * @returns {Promise<{ expected: number, created_before: string }>}
   */
  async count (request) {
    const { count, created_before: before } = await ask('POST', `${jobsPath}/actions`, { body: { ...request, dry_run: true } })
    return { expected: count, created_before: before }
  },
  deliveries: async (id, signal) => (await ask('GET', `${pathOf(jobsPath, id)}/webhooks`, { signal })).deliveries
}

/** The parameters in an image or infotext. @param {{ image?: string, text?: string }} source */
export const readParameters = source => ask('POST', '/api/v1/read-parameters', { body: source })

export const servers = {
  list: signal => ask('GET', serversPath, { signal }),
  inventory: (alias, signal) => ask('GET', `${pathOf(serversPath, alias)}/inventory`, { signal }),
  add: server => ask('POST', serversPath, { body: server }),
  change: (alias, changes) => ask('PUT', pathOf(serversPath, alias), { body: changes }),
  test: alias => ask('POST', `${pathOf(serversPath, alias)}/test`),
  history: (alias, signal) => ask('GET', `${pathOf(serversPath, alias)}/history`, { signal }),
  pause: (alias, reason) => ask('POST', `${pathOf(serversPath, alias)}/pause`, { body: { reason } }),
  drain: alias => ask('POST', `${pathOf(serversPath, alias)}/drain`),
  resume: alias => ask('POST', `${pathOf(serversPath, alias)}/resume`),
  remove: (alias, query = {}) => ask('DELETE', `${pathOf(serversPath, alias)}?${queryOf(query)}`),
  /** @param {{ checkpoint?: string, minutes?: number }} options */
  check: (alias, options) => ask('POST', `${pathOf(serversPath, alias)}/check`, { body: options }),
  readCheck: (alias, signal) => ask('GET', `${pathOf(serversPath, alias)}/check`, { signal }),
  cancelCheck: alias => ask('DELETE', `${pathOf(serversPath, alias)}/check`)
}

export const apiKeys = {
  list: async signal => (await ask('GET', keysPath, { signal })).api_keys,
  create: key => ask('POST', keysPath, { body: key }),
  change: (id, changes) => ask('PUT', pathOf(keysPath, id), { body: changes }),
  rotate: (id, graceHours) => ask('POST', `${pathOf(keysPath, id)}/rotate`, { body: { grace_hours: graceHours } }),
  remove: id => ask('DELETE', pathOf(keysPath, id))
}
