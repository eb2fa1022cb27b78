import { type Static, Type } from '@sinclair/typebox'
import { ShortJobView } from './job.ts'
import { nextCursor, Nullable, OffsetCursor, Ref, success, Timestamp } from './kit.ts'

export const QueueQuery = Type.Object({
  server: Type.Optional(Type.String({ maxLength: 64, description: 'Only jobs that need the server with this alias, or are claimed or run by it.' })),
  key: Type.Optional(Type.String({
    maxLength: 64, pattern: '^[^*:]*$', description: 'Only jobs of the access key with this id; any but its own needs jobs:read:all.'
  })),
  background: Type.Optional(Type.Boolean({ description: 'true: only jobs in the background; false: only others.' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 200, description: 'Waiting jobs a page.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000_000, default: 0, description: 'Waiting jobs to pass over.' })),
  cursor: Type.Optional(OffsetCursor)
})
export type QueueQuery = Static<typeof QueueQuery>

const count = (description: string) => Type.Integer({ minimum: 0, description })

export const GroupCounts = Type.Object({
  id: Type.String({ description: 'The group, as `group` of its jobs.' }),
  total: count('Its jobs that still exist.'),
  pending: count('That wait.'),
  processing: count('That run.'),
  completed: count('That are done.'),
  failed: count('That failed.'),
  cancelled: count('That were cancelled.')
}, { $id: 'GroupCounts', description: 'How far a bulk or group is.' })
export type GroupCounts = Static<typeof GroupCounts>

export const GroupsQuery = Type.Object({
  id: Type.Array(Type.String({ minLength: 1, maxLength: 300 }), {
    minItems: 1, maxItems: 50, description: 'Groups, as `group` of their jobs; repeat it for several.'
  })
})

export const GroupsView = Type.Object({
  success,
  groups: Type.Array(Ref(GroupCounts), { description: 'Those that exist, in the order of the query.' })
}, { $id: 'GroupList', description: 'How far some groups are.' })
export type GroupsView = Static<typeof GroupsView>

export const QueuedJobView = Type.Object({
  ...ShortJobView.properties,
  place: Nullable(Type.Integer({ minimum: 1 }), {
    description: 'Its place among the waiting jobs of all servers, by expected begin: each place once. Those of which no ' +
      'begin is known come last; null for one behind 2000 others. `position` counts only the jobs that it competes with.'
  })
}, { $id: 'QueuedJobView', description: 'A waiting job with its place in the queue of all servers.' })

export const QueueView = Type.Object({
  success,
  as_of: Timestamp('The service\'s own clock: all of them were accepted before. Use it as created_before of an action.'),
  enabled: Type.Boolean({ description: 'false: all queues are paused, and servers begin no jobs.' }),
  running: Type.Array(Ref(ShortJobView), { description: 'Running jobs, the longest running first.' }),
  waiting: Type.Array(Ref(QueuedJobView), { description: 'One page of the waiting jobs of all servers, in the order in which they are expected to begin.' }),
  total_running: count('Running jobs that fit the filters.'),
  total_waiting: count('Waiting jobs that fit the filters, on all pages.'),
  groups: Type.Array(Ref(GroupCounts), { description: 'Groups of the jobs of this page.' }),
  next_cursor: nextCursor
}, { $id: 'QueueView', description: 'What runs and what waits, over all servers.' })
export type QueueView = Static<typeof QueueView>

export const FailuresQuery = Type.Object({
  server: QueueQuery.properties.server,
  key: QueueQuery.properties.key,
  group: Type.Optional(Type.String({ maxLength: 120, pattern: '\\S', description: 'Only jobs of this bulk or group.' })),
  since: Type.Optional(Timestamp('Only jobs accepted at or after this moment.'))
})
export type FailuresQuery = Static<typeof FailuresQuery>

export const FailureGroup = Type.Object({
  code: Type.String({ description: 'Error code of these jobs.' }),
  class: Type.String({ description: 'Kind of failure, such as out-of-memory or bad-request.' }),
  count: count('How many jobs failed so.'),
  message: Type.String({ description: 'The error of the one that was accepted last.' }),
  job_id: Type.String({ description: 'The one that was accepted last.' }),
  failed_at: Timestamp('When it failed.'),
  filter: Type.Record(Type.String(), Type.String(), {
    description: 'For POST /api/v2/jobs/actions, with count as expected and as_of as created_before: retries exactly these.'
  })
}, { $id: 'FailureGroup', description: 'Failed jobs with the same cause.' })

export const FailuresView = Type.Object({
  success,
  as_of: Timestamp('The service\'s own clock: all of them were accepted before. Use it as created_before of an action.'),
  total: count('Failed jobs.'),
  causes: Type.Array(Ref(FailureGroup), { description: 'The most frequent cause first.' })
}, { $id: 'FailureList', description: 'Failed jobs by cause.' })
export type FailuresView = Static<typeof FailuresView>
