import { type Static, type TObject, Type } from '@sinclair/typebox'
import { GenerationParameters, Warning } from './generation-parameters.ts'
import { Closed, Nullable, Ref, SeedNumber, seedText, StringEnum, success, Timestamp } from './kit.ts'
import { WebhookView } from './webhook.ts'

/** The five states of a job; every interface maps these to its own words. */
export const jobStatuses = ['pending', 'processing', 'completed', 'failed', 'cancelled'] as const
export const endStatuses = ['completed', 'failed', 'cancelled'] as const

export const JobStatus = StringEnum(jobStatuses, {
  description: 'pending: waits in the queue. processing: runs on its server. The other three are final.'
})
export type JobStatus = Static<typeof JobStatus>
export type EndStatus = (typeof endStatuses)[number]

export function hasEnded (status: JobStatus): status is EndStatus {
  return status === 'completed' || status === 'failed' || status === 'cancelled'
}

const jobId = (description: string) => Type.String({ description, examples: ['3f0c9c1e-7a52-4c68-9d5b-1d2a8f0f6a11'] })
const record = (description: string) => Type.Record(Type.String(), Type.Unknown(), { description })

/** How a job came. */
export const JobChannel = StringEnum(['ui', 'api', 'sdapi', 'openai', 'bot'], {
  description: 'ui: the web UI. sdapi: A1111\'s own API. openai: OpenAI\'s API. bot: the interface for bots and phones. api: anything else.'
})

const inBackground = Type.Boolean({
  description: 'Whether it is in the background: it begins only when no other job waits for the server.'
})

const previewAddress = Nullable(Type.String(), {
  description: 'Where to get the unfinished picture while it runs, which takes up to 5 seconds, or 404 if its server shows none; null otherwise.'
})

const checkpointUsed = Nullable(Type.String(), {
  description: 'The checkpoint that made its images, as the server wrote it into them; null until then.'
})

export const JobImageView = Type.Object({
  filename: Type.String({ description: 'Name under /outputs/.' }),
  url: Type.String({ description: 'Where to get it.' }),
  thumbnail_url: Type.String({ description: 'Where to get a WebP of at most 320 by 320 pixels.' }),
  mime: Type.String({ description: 'Content type.', examples: ['image/png'] }),
  width: Type.Integer({ description: 'Pixels.' }),
  height: Type.Integer({ description: 'Pixels.' }),
  bytes: Type.Integer({ description: 'Size of the file.' }),
  sha256: Type.String({ description: 'Hash of the file, in hex.' }),
  seed: Nullable(SeedNumber('Seed that made it, where known.')),
  ...seedText,
  role: StringEnum(['image', 'grid', 'extra'], {
    description: 'image: a result. grid: a contact sheet. extra: a ControlNet map or a mask.'
  })
}, { $id: 'JobImageView', description: 'One image of a job.' })

export const AttemptView = Type.Object({
  run: Type.Integer({ description: 'Counts the times that the job went to a server.' }),
  server: Type.String({ description: 'Alias of the server.' }),
  started_at: Timestamp('Begin of the generation.'),
  ended_at: Timestamp('Its end.'),
  code: Type.String({ description: 'What went wrong, for programs.' }),
  message: Type.String({ description: 'What went wrong, for people.' })
}, { $id: 'AttemptView', description: 'A generation that did not end its job well.' })

/** A job, with the field names of every StableQueue client: ids, for one, come under three of them. */
export const JobView = Type.Object({
  id: jobId('The job.'),
  job_id: jobId('Same as id.'),
  mobilesd_job_id: jobId('Same as id, as StableQueue always called it.'),
  stablequeue_job_id: jobId('Same as id, as its documents call it.'),
  status: JobStatus,
  creation_timestamp: Timestamp('When it was accepted.'),
  last_updated_timestamp: Timestamp('When it last changed.'),
  started_timestamp: Nullable(Timestamp('When its last generation began.')),
  completion_timestamp: Nullable(Timestamp('When it finished.')),
  target_server_alias: Type.String({ description: 'Server that runs it, has claimed it, or that it needs; `default` while any of several can take it.' }),
  priority: Type.Integer({ minimum: 1, maximum: 10, description: 'Its weight: 10 gets twice as many turns as 5, and 1 a quarter.' }),
  background: inBackground,
  queue_position: Nullable(Type.Integer({ minimum: 1 }), { description: 'Rank among the waiting jobs by the time at which they are expected to begin; null unless it waits.' }),
  progress: Type.Number({ minimum: 0, maximum: 1, description: '0 to 1.' }),
  progress_percentage: Type.Number({ minimum: 0, maximum: 100, description: '0 to 100.' }),
  step: Nullable(Type.Integer(), { description: 'Sampling step that it is at.' }),
  steps: Nullable(Type.Integer(), { description: 'Sampling steps in all.' }),
  estimated_time_remaining: Nullable(Type.Number(), { description: 'Seconds, as the server guesses; null unless it runs.' }),
  eta_seconds: Nullable(Type.Number({ minimum: 0 }), {
    description: 'Seconds until it ends, as the servers will take jobs if no other comes; null while that is not known, ' +
      'while no server can run it, for the reason in waiting_for, and after its end.'
  }),
  eta_seconds_p90: Nullable(Type.Number({ minimum: 0 }), {
    description: 'Seconds that nine of ten such jobs do not exceed: newcomers go ahead, and times vary. Null as eta_seconds.'
  }),
  waiting_for: Nullable(Type.String(), {
    description: 'What a waiting job waits for, in words. The jobs ahead of it are those that are expected to begin ' +
      'before it at the same server.',
    examples: ['3 jobs ahead of it', 'No server that has "a" is up.']
  }),
  estimated_start_time: Nullable(Timestamp('When it is expected to begin; null as above, and once it runs.')),
  estimated_completion_time: Nullable(Timestamp('When it is expected to end; null as eta_seconds.')),
  cancel_requested: Type.Boolean({ description: 'Whether it is being cancelled.' }),
  generation_params: record('What is generated, in A1111\'s field names, seed resolved; and what the client sent under names of its own.'),
  generation_params_json: Type.String({ description: 'The same as JSON text.' }),
  client_params: record('What the client sent under names of its own, such as num_images or style_preset; long values are left out.'),
  result_details: Nullable(record('Result: info, a sentence; images, saved_filenames, generation_info; or error and details.')),
  result_details_json: Nullable(Type.String(), { description: 'The same as JSON text.' }),
  images: Type.Array(Ref(JobImageView), { description: 'Results, best used instead of result_details.' }),
  preview_url: previewAddress,
  error: Nullable(Type.Object({
    code: Type.String({ description: 'For programs.' }), message: Type.String({ description: 'For people.' })
  }), { description: 'Why it failed.' }),
  warnings: Type.Array(Ref(Warning), { description: 'Notes for the caller that do not stop the job.' }),
  attempts: Type.Array(Ref(AttemptView), { description: 'Generations that did not end it well.' }),
  retry_count: Type.Integer({ description: 'Further generations after the first.' }),
  app_type: Type.String({ description: 'Application that it is for, by the client\'s own word.' }),
  source_info: Type.String({ description: 'Who sent it, by the client\'s own word.' }),
  api_key_id: Nullable(Type.String(), { description: 'Access key that owns it.' }),
  bulk_job_id: Nullable(Type.String(), { description: 'Bulk or group that it belongs to.' }),
  channel: JobChannel,
  user_id: Nullable(Type.String(), { description: 'User of bots and phones, or of a client of OpenAI\'s API, who asked for it.' }),
  checkpoint_used: checkpointUsed,
  forge_session_hash: Type.Null({ description: 'Of a time when jobs went through Gradio; always null.' }),
  forge_internal_task_id: Type.String({ description: 'The task\'s id at the server, the same as the job\'s.' }),
  webhook: Nullable(Ref(WebhookView), { description: 'Receiver of its events; null for none.' }),
  metadata: Type.Unknown({ description: 'The caller\'s own JSON; null if it sent none.' }),
  model_availability: record('Whether the server has the checkpoint.'),
  links: Type.Record(Type.String(), Type.String(), { description: 'Where to go from here.' })
}, { $id: 'JobView', description: 'A job, with the field names of every StableQueue client.' })
export type JobView = Static<typeof JobView>

/** Characters of a prompt or of an error in a short view. */
export const shortText = 500

export const ShortImageView = Type.Pick(JobImageView, ['filename', 'url', 'thumbnail_url', 'width', 'height'], {
  $id: 'ShortJobImageView', description: 'One image of a job in a list.'
})

/** What a list of jobs shows; the whole job is six times as long. */
export const ShortJobView = Type.Object({
  id: jobId('The job.'),
  status: JobStatus,
  alias: Type.String({ description: 'As target_server_alias of the whole job.' }),
  created_at: Timestamp('When it was accepted.'),
  started_at: Nullable(Timestamp('When its last generation began.')),
  finished_at: Nullable(Timestamp('When it finished.')),
  mode: Type.String({ description: 'txt2img, img2img or extras.' }),
  prompt: Type.String({ description: `The first ${shortText} characters of its prompt.` }),
  size: Nullable(Type.String(), { description: 'Width and height as requested, in pixels; null if it has none.', examples: ['512x768'] }),
  steps: Nullable(Type.Integer(), { description: 'Sampling steps as requested; null if it has none.' }),
  images: Type.Array(Ref(ShortImageView), { description: 'Its results, without grids and extra images.' }),
  preview_url: previewAddress,
  error: Nullable(Type.Object({
    code: Type.String({ description: 'For programs.' }), message: Type.String({ description: `For people; the first ${shortText} characters.` })
  }), { description: 'Why it failed.' }),
  priority: Type.Integer({ minimum: 1, maximum: 10, description: 'Its weight.' }),
  background: inBackground,
  position: Nullable(Type.Integer({ minimum: 1 }), { description: 'As queue_position of the whole job; null unless it waits.' }),
  eta: Nullable(Type.Number({ minimum: 0 }), { description: 'Seconds until it ends, as eta_seconds of the whole job.' }),
  eta_p90: Nullable(Type.Number({ minimum: 0 }), { description: 'As eta_seconds_p90 of the whole job.' }),
  starts_at: Nullable(Timestamp('When a waiting job is expected to begin; null if that is not known.')),
  waiting_for: Nullable(Type.String(), { description: 'What a waiting job waits for, in words.' }),
  progress: Type.Number({ minimum: 0, maximum: 1, description: '0 to 1.' }),
  cancel_requested: Type.Boolean({ description: 'Whether it is being cancelled.' }),
  checkpoint: Nullable(Type.String(), { description: 'The checkpoint that it names; null if the server\'s own will do.' }),
  checkpoint_used: checkpointUsed,
  channel: JobChannel,
  api_key_id: Nullable(Type.String(), { description: 'Access key that owns it.' }),
  user_id: Nullable(Type.String(), { description: 'User of bots and phones, or of a client of OpenAI\'s API, who asked for it.' }),
  group: Nullable(Type.String(), { description: 'Bulk or group that it belongs to.' })
}, { $id: 'ShortJobView', description: 'A job in a list with `view=short`.' })
export type ShortJobView = Static<typeof ShortJobView>

export const JobIdParameters = Type.Object({ jobId: Type.String({ description: 'Id of the job.', maxLength: 64 }) })

export const JobWaitQuery = Type.Object({
  wait: Type.Optional(Type.Integer({
    minimum: 0, maximum: 120, default: 0, description: 'Seconds to wait for the end of the job before the answer.', examples: [30]
  }))
})
export type JobWaitQuery = Static<typeof JobWaitQuery>

/** What narrows a list of jobs, and an action on many of them. */
const jobFilterFields = {
  status: Type.Optional(StringEnum(jobStatuses, { description: 'Only jobs in this state.' })),
  server: Type.Optional(Type.String({ maxLength: 64, description: 'Only jobs of the server with this alias.' })),
  target_server_alias: Type.Optional(Type.String({ maxLength: 64, description: 'Same as server.' })),
  key: Type.Optional(Type.String({
    maxLength: 64,
    // Ids have no such signs, and in the names of indexes a * stands for any key.
    pattern: '^[^*:]*$',
    description: 'Only jobs of the access key with this id; any but its own needs jobs:read:all, or jobs:cancel:all to act on them.'
  })),
  user: Type.Optional(Type.String({ maxLength: 200, description: 'Only jobs of this user_id of bots and phones.' })),
  app_type: Type.Optional(Type.String({ description: 'Only jobs for this application.', maxLength: 64 })),
  since: Type.Optional(Timestamp('Only jobs accepted at or after this moment.')),
  before: Type.Optional(Timestamp('Only jobs accepted before this moment.')),
  search: Type.Optional(Type.String({ description: 'Only jobs whose prompt contains this.', maxLength: 200 })),
  group: Type.Optional(Type.String({ maxLength: 120, pattern: '\\S', description: 'Only jobs of this bulk or group.' })),
  error: Type.Optional(Type.String({
    maxLength: 64, pattern: '\\S', description: 'Only failed jobs with this error code, as GET /api/v2/failures lists them.'
  })),
  background: Type.Optional(Type.Boolean({ description: 'true: only jobs in the background; false: only others.' }))
}
export type JobFilterFields = Static<TObject<typeof jobFilterFields>>

export const JobListQuery = Type.Object({
  ...jobFilterFields,
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50, description: 'Jobs a page.' })),
  offset: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000_000, default: 0, description: 'Jobs to pass over.' })),
  cursor: Type.Optional(Type.String({ pattern: '^\\d{1,20}$', description: '`next_cursor` of the page before; stable while jobs come and go.' })),
  order: Type.Optional(StringEnum(['asc', 'desc', 'ASC', 'DESC', 'line'], {
    default: 'desc',
    description: 'By time of acceptance; or line: in the order in which waiting jobs run, with status=pending, paged by ' +
      'offset.'
  })),
  view: Type.Optional(StringEnum(['full', 'short'], {
    default: 'full', description: 'full: whole jobs. short: only what a list shows, in a sixth of the size.'
  }))
})
export type JobListQuery = Static<typeof JobListQuery>

const pageOfJobs = {
  success,
  total: Type.Integer({ description: 'Jobs that fit the filters, on all pages.' }),
  as_of: Timestamp('The service\'s own clock: all of them were accepted before. Use it as created_before of an action.'),
  count: Type.Integer({ description: 'Jobs on this page.' }),
  filters: record('The filters in force.'),
  next_cursor: Nullable(Type.String(), { description: 'Leads to the next page; null at the end.' })
}

export const JobListView = Type.Object({
  ...pageOfJobs, jobs: Type.Array(Ref(JobView), { description: 'The page.' })
}, { $id: 'JobList', description: 'A page of jobs.' })

export const ShortJobListView = Type.Object({
  ...pageOfJobs, jobs: Type.Array(Ref(ShortJobView), { description: 'The page.' })
}, { $id: 'ShortJobList', description: 'A page of jobs with `view=short`.' })

export const JobOverviewQuery = Type.Object({ server: jobFilterFields.server, key: jobFilterFields.key })

const total = (description: string) => Type.Integer({ minimum: 0, description })

export const JobOverviewView = Type.Object({
  success,
  as_of: pageOfJobs.as_of,
  totals: Type.Object({
    pending: total('Waiting jobs.'),
    processing: total('Running jobs.'),
    completed: total('Completed jobs.'),
    failed: total('Failed jobs.'),
    cancelled: total('Cancelled jobs.')
  }, { description: 'Number of jobs in each state.' }),
  running: Type.Array(Ref(ShortJobView), { description: 'Running jobs, at most 50.' }),
  waiting: Type.Array(Ref(ShortJobView), { description: 'The next 5 in the queue.' }),
  finished: Type.Array(Ref(ShortJobView), { description: 'The last 10 that finished, the latest first.' })
}, { $id: 'JobOverview', description: 'What a page about the queue shows first.' })
export type JobOverviewView = Static<typeof JobOverviewView>

export const JobAnswer = Type.Object({ success, job: Ref(JobView) }, { $id: 'JobAnswer', description: 'One job.' })
export const JobChange = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  job: Ref(JobView)
}, { $id: 'JobChange', description: 'Result for a job.' })

/** What can be changed of a job that waits. Parameters that are left out stay, null means the default. */
export const JobPatch = Closed({
  priority: Type.Optional(Type.Integer({
    minimum: 1, maximum: 10, description: 'Its new priority, 10 first; the job follows those that already wait with it.', examples: [8]
  })),
  server: Type.Optional(Type.String({ maxLength: 64, description: 'Alias of the new server; `auto`: any.' })),
  background: Type.Optional(Type.Boolean({
    description: 'true: it yields to all jobs that are not in the background; false: it no longer does. It waits there as if it had just arrived.'
  })),
  before: Type.Optional(jobId('Job of the same queue, both or neither in the background; this one moves right before it.')),
  place: Type.Optional(StringEnum(['first', 'last'], {
    description: 'Ahead of or behind the other jobs of its access key; first goes ahead of everybody\'s with queue:admin. ' +
      'A job in the background stays there.'
  })),
  prompt: Type.Optional(Type.String({ maxLength: 100_000, description: 'Its new prompt; short for generation_params.prompt.' })),
  generation_params: Type.Optional(Ref(GenerationParameters))
}, {
  $id: 'JobPatch', description: 'What to change; everything left out stays.', minProperties: 1, examples: [{ priority: 8 }]
})
export type JobPatch = Static<typeof JobPatch>

const moreThanBlank = { minLength: 1, pattern: '\\S' }

/** Something to be done with many jobs. */
export const JobAction = Closed({
  action: StringEnum(['cancel', 'retry', 'run-now', 'move', 'delete', 'background', 'foreground'], {
    description: 'As the routes of one job do it. move puts waiting ones into the queue of another server; delete cancels ' +
      'waiting ones first; background lets waiting ones yield to all others, and foreground ends that.'
  }),
  server: Type.Optional(Type.String({ maxLength: 64, description: 'With move: alias of the new server; `auto`: any.' })),
  ids: Type.Optional(Type.Array(jobId('A job.'), { minItems: 1, maxItems: 20_000, description: 'The jobs.' })),
  filter: Type.Optional(Closed({
    ...jobFilterFields,
    key: Type.Optional(Type.String({ ...jobFilterFields.key, ...moreThanBlank, pattern: '^[^*:\\s]+$' })),
    user: Type.Optional(Type.String({ ...jobFilterFields.user, ...moreThanBlank })),
    app_type: Type.Optional(Type.String({ ...jobFilterFields.app_type, ...moreThanBlank })),
    search: Type.Optional(Type.String({ ...jobFilterFields.search, ...moreThanBlank }))
  }, { description: 'Instead of ids: all jobs that match at the time of the request, as GET lists them.' })),
  all: Type.Optional(Type.Boolean({
    default: false, description: 'Must be true where neither ids nor a filter say which jobs: then it is about all.'
  })),
  expected: Type.Optional(Type.Integer({
    minimum: 0, description: 'How many jobs the caller expects: where there are more, nothing is done and the answer is 409 with their number.'
  })),
  created_before: Type.Optional(Timestamp('Only jobs accepted before this moment, such as as_of of a list or created_before of a dry run.')),
  dry_run: Type.Optional(Type.Boolean({ default: false, description: 'true: only count them.' }))
}, {
  $id: 'JobAction', description: 'What to do with which jobs.', examples: [{ action: 'retry', filter: { status: 'failed' } }]
})
export type JobAction = Static<typeof JobAction>

export const JobActionAnswer = Type.Object({
  success,
  message: Type.String({ description: 'What was done.' }),
  dry_run: Type.Boolean({ description: 'Whether they were only counted.' }),
  count: Type.Integer({ description: 'Matching jobs that the caller can act on.' }),
  created_before: Timestamp('All of them were accepted before this moment.'),
  done: Type.Integer({ description: 'Jobs with which it was done.' }),
  ids: Type.Array(jobId('The job.'), { description: 'Those jobs, in the order in which it was done; the first 1000.' }),
  refused: Type.Array(Type.Object({
    id: jobId('The job.'),
    code: Type.String({ description: 'Why not, for programs.' }),
    message: Type.String({ description: 'Why not, for people.' })
  }), { description: 'Jobs with which it could not be done; the first 100.' }),
  refused_count: Type.Integer({ description: 'How many those are in all.' })
}, { $id: 'JobActionAnswer', description: 'Result of an action on many jobs.' })
export type JobActionAnswer = Static<typeof JobActionAnswer>

export const Done = Type.Object({
  success, message: Type.String({ description: 'What was done.' })
}, { $id: 'DoneAnswer', description: 'That something was done.' })
