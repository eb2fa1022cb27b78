import { ask } from './api.js'
import { queryOf } from './query.js'

/** The routes of settings, each as a function. */

const path = '/api/v1/settings'

export const settings = {
  read: signal => ask('GET', path, { signal }),
  change: changes => ask('PUT', path, { body: changes }),
  switchQueue: enabled => ask('PUT', `${path}/queue-processing`, { body: { enabled } }),
  /** What is due now, or would be under other rules. @param {{ days?: number, jobs?: number }} rules */
  retention: (rules = {}, signal) => ask('GET', `${path}/retention?${queryOf(rules)}`, { signal }),
  /** Removes a part of what is due. @param {{ expected: number, created_before: string }} counted */
  purge: counted => ask('POST', `${path}/retention/purge`, { body: counted })
}
