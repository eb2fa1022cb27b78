import type { ChangedSettings, Message, Purged, Retention, Settings, SettingsChange } from './api-types.ts'
import { ask } from './api.ts'
import { queryOf } from './query.ts'

/** The routes of settings, one function each. */

const path = '/api/v1/settings'

export const settings = {
  read: (signal: AbortSignal) => ask<Settings>('GET', path, { signal }),
  change: (changes: SettingsChange) => ask<ChangedSettings>('PUT', path, { body: changes }),
  switchQueue: (enabled: boolean) => ask<Message>('PUT', `${path}/queue-processing`, { body: { enabled } }),
  /** Counts the jobs to delete now, or with other rules. */
  retention: (rules: {
    days?: string
    jobs?: string
  }, signal?: AbortSignal) => ask<Retention>('GET', `${path}/retention?${queryOf(rules)}`, { signal }),
  /** Deletes a part of these jobs. */
  purge: (counted: {
    expected: number
    created_before: string
  }) => ask<Purged>('POST', `${path}/retention/purge`, { body: counted })
}
