import { ask, pathOf } from './api.js'

/** Every route that the pages use, each as a function. */

const jobsPath = '/api/v2/jobs'
const serversPath = '/api/v1/servers'
const keysPath = '/api/v1/api-keys'

export const session = {
  read: () => ask('GET', '/ui/session'),
  open: token => ask('POST', '/ui/session', { body: { token } }),
  end: () => ask('DELETE', '/ui/session')
}

export const jobs = {
  /** @param {Record<string, string | number | undefined>} query empty values are left out */
  list: (query, signal) => ask('GET', `${jobsPath}?${queryOf(query)}`, { signal }),
  read: async (id, signal) => (await ask('GET', pathOf(jobsPath, id), { signal })).job,
  submit: request => ask('POST', '/api/v2/generate', { body: request }),
  cancel: id => ask('POST', `${pathOf(jobsPath, id)}/cancel`),
  retry: id => ask('POST', `${pathOf(jobsPath, id)}/retry`),
  runNow: id => ask('POST', `${pathOf(jobsPath, id)}/run-now`),
  remove: id => ask('DELETE', pathOf(jobsPath, id))
}

export const servers = {
  list: signal => ask('GET', serversPath, { signal }),
  inventory: (alias, signal) => ask('GET', `${pathOf(serversPath, alias)}/inventory`, { signal }),
  add: server => ask('POST', serversPath, { body: server }),
  change: (alias, changes) => ask('PUT', pathOf(serversPath, alias), { body: changes }),
  test: alias => ask('POST', `${pathOf(serversPath, alias)}/test`),
  pause: alias => ask('POST', `${pathOf(serversPath, alias)}/pause`),
  resume: alias => ask('POST', `${pathOf(serversPath, alias)}/resume`),
  remove: (alias, query = {}) => ask('DELETE', `${pathOf(serversPath, alias)}?${queryOf(query)}`)
}

export const apiKeys = {
  list: async signal => (await ask('GET', keysPath, { signal })).api_keys,
  create: key => ask('POST', keysPath, { body: key }),
  rotate: (id, graceHours) => ask('POST', `${pathOf(keysPath, id)}/rotate`, { body: { grace_hours: graceHours } }),
  remove: id => ask('DELETE', pathOf(keysPath, id))
}

function queryOf (values) {
  return new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined && value !== ''))
}
