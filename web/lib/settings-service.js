import { ask } from './api.js'
import { queryOf } from './query.js'

/** The routes of settings, one function each. */

const path = '/api/v1/settings'

export const settings = {
  read: signal => ask('GET', path, { signal }),
  change: changes => ask('PUT', path, { body: changes }),
  switchQueue: enabled => ask('PUT', `${path}/queue-processing`, { body: { enabled } }),
  /** Counts the jobs to delete now, or with other rules. @param {{ days?: number, jobs?: number }} rules */
  retention: (rules = {}, signal) => ask('GET', `${path}/retention?${queryOf(rules)}`, { signal }),
  /** Deletes a part of these jobs. @param {{ expected: number, created_before: string }} counted */
  purge: counted => ask('POST', `${path}/retention/purge`, { body: counted })
}
