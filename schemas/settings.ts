import { Type, type Static } from '@sinclair/typebox'
import { Closed, Nullable, Ref, StringEnum, success, Timestamp } from './kit.ts'

const count = (description: string) => Type.Integer({ minimum: 0, description })
const retentionDays = Type.Integer({
  minimum: 0, maximum: 36_500, description: 'Days for which finished jobs are kept with their images; 0 for no limit.'
})
const retentionJobs = Type.Integer({
  minimum: 0, maximum: 10_000_000, description: 'Number of finished jobs to keep, the newest first; 0 for no limit.'
})
const giveBack = 'null: as the environment says.'

/** What can be changed while the service runs, by the names that clients use. */
export const ChangeableSettings = Type.Object({
  queueProcessingEnabled: Type.Boolean({
    description: 'Whether servers take jobs. If off, running generations finish and no new one starts.'
  }),
  retention_days: retentionDays,
  retention_jobs: retentionJobs,
  lastUpdated: Nullable(Timestamp('When anything was changed last; null for never.'))
}, {
  $id: 'ChangeableSettings',
  additionalProperties: true,
  description: 'What can be changed while the service runs; further fields were kept by earlier versions for clients.'
})
export type ChangeableSettings = Static<typeof ChangeableSettings>

export const SettingsChange = Closed({
  queueProcessingEnabled: Type.Optional(Nullable(ChangeableSettings.properties.queueProcessingEnabled)),
  retention_days: Type.Optional(Nullable(retentionDays, { description: `${retentionDays.description} ${giveBack}` })),
  retention_jobs: Type.Optional(Nullable(retentionJobs, { description: `${retentionJobs.description} ${giveBack}` })),
  lastUpdated: Type.Optional(Nullable(Type.String({ maxLength: 64 }), {
    description: 'Without effect: clients send back what they have read.'
  }))
}, {
  $id: 'SettingsChange',
  description: 'What is to change; the rest stays.',
  examples: [{ retention_days: 30 }]
})
export type SettingsChange = Static<typeof SettingsChange>

export const SettingView = Type.Object({
  name: Type.String({ description: 'As in the environment.', examples: ['PORT'] }),
  value: Type.Unknown({ description: 'What is in force; null where it is secret. Passwords in addresses are left out.' }),
  default: Type.Unknown({ description: 'Value unless it is set.' }),
  source: StringEnum(['command line', 'environment', 'file', 'default', 'here'], {
    description: 'Source of the value; file: .env. here: changed while the service runs.'
  }),
  is_secret: Type.Boolean({ description: 'Whether it is never shown.' }),
  is_set: Type.Boolean({ description: 'Whether there is a value, for those that are never shown.' }),
  changeable_as: Nullable(Type.String(), {
    description: 'Its name in PUT /api/v1/settings; null if it needs a restart.'
  }),
  allowed: Type.String({ description: 'What it accepts, in words.' }),
  description: Type.String({ description: 'What it is for.' })
}, { $id: 'SettingView' })
export type SettingView = Static<typeof SettingView>

export const SettingsView = Type.Object({
  success,
  settings: Ref(ChangeableSettings),
  in_force: Type.Array(Ref(SettingView), { description: 'Every setting of this process.' }),
  version: Type.String({ description: 'Of the service.' })
}, { $id: 'SettingsView' })

export const SettingsChanged = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  settings: Ref(ChangeableSettings)
}, { $id: 'SettingsChanged' })

const removal = {
  jobs: count('Jobs.'),
  images: count('Their images.'),
  bytes: count('Size of the images.')
}

export const RetentionQuery = Type.Object({
  days: Type.Optional(retentionDays),
  jobs: Type.Optional(retentionJobs)
})

export const RetentionView = Type.Object({
  success,
  as_of: Timestamp('The service\'s own clock at the count; use it as created_before of a purge.'),
  days: retentionDays,
  jobs: retentionJobs,
  tracker_days: Type.Integer({ description: 'The setting TRACKER_RETENTION: days for jobs of /sdapi/v1; 0 keeps them.' }),
  interval_hours: Type.Integer({ description: 'How often old jobs are deleted.' }),
  due: Type.Object({
    ...removal, oldest: Nullable(Timestamp('When the oldest of them was accepted.'))
  }, { description: 'What would be removed now.' }),
  last: Nullable(Type.Object({ ...removal, at: Timestamp('When that was.') }), {
    description: 'The last time that something was removed; null for never.'
  })
}, { $id: 'RetentionView' })

/** Clients that expect nothing send no body, or null. */
export const PurgeRequest = Type.Unsafe<{ expected?: number, created_before?: string } | null>({
  ...Closed({
    expected: Type.Optional(Type.Integer({
      minimum: 0, description: 'How many jobs the caller expects to be due: where there are more, nothing is removed and the answer is 409 with their number.'
    })),
    created_before: Type.Optional(Timestamp('Only jobs accepted before this moment.'))
  }),
  type: ['object', 'null'],
  $id: 'PurgeRequest',
  description: 'What the caller knows of what is due.',
  examples: [{ expected: 0 }]
})

export const PurgeAnswer = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  removed: Type.Object(removal, { description: 'The deleted fields.' }),
  more: Type.Boolean({ description: 'Whether more is due: one call removes 1000 jobs. Call again.' })
}, { $id: 'PurgeView' })
