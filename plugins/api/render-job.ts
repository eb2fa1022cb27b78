import { hasEnded, type JobView, shortText, type ShortJobView } from '../../schemas/job.ts'
import { expectationOf, type Outlook } from '../../src/jobs/estimates.ts'
import type { JobEstimate } from '../../src/jobs/forecast.ts'
import type { Job, JobImage } from '../../src/jobs/job.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { seedText } from '../../src/lib/seeds.ts'
import { checkpointUsedBy } from '../../src/jobs/gallery.ts'
import { iso } from '../../src/lib/text.ts'
import { namingWarnings } from './parameter-fields.ts'

/** Data for a view of a record besides the record. */
export interface RecordSurroundings {
  readonly alias: string
  /** The path before all addresses of this service; see `base` of a request. */
  readonly base: string
}

/** Data for a job's view besides the job. */
export interface JobSurroundings extends RecordSurroundings, Outlook {}

/** The members of views that are expectations, and change without the record. */
export type ExpectedMembers = Pick<JobView,
  'queue_position' | 'waiting_for' | 'estimated_time_remaining' | 'eta_seconds' | 'eta_seconds_p90' |
  'estimated_start_time' | 'estimated_completion_time'>
export type ShortExpectedMembers = Pick<ShortJobView, 'position' | 'eta' | 'eta_p90' | 'starts_at' | 'waiting_for'>

/** Address of a job's routes. */
export function jobLinks (id: string, base: string): Record<string, string> {
  return {
    self: `${base}/api/v2/jobs/${id}`,
    status: `${base}/api/v2/jobs/${id}/status`,
    cancel: `${base}/api/v2/jobs/${id}/cancel`,
    webhooks: `${base}/api/v2/jobs/${id}/webhooks`
  }
}

export function outputUrl (name: string, base: string): string {
  return `${base}/outputs/${name}`
}

/** Address of an output's thumbnail. */
export function thumbnailUrl (name: string, base: string): string {
  return `${base}/outputs/thumbs/${name}`
}

/** Address of the picture of a running job. @param moment when it was made; browsers then fetch each new one */
export function previewUrl (id: string, base: string, moment?: number): string {
  return `${base}/api/v2/jobs/${id}/preview${moment === undefined ? '' : `?v=${moment}`}`
}

/** The names under which clients look for a job's id. */
export function jobIds (id: string) {
  return { id, job_id: id, mobilesd_job_id: id, stablequeue_job_id: id }
}

/** A job with the field names of every StableQueue client. */
export function renderJob (job: Job, surroundings: JobSurroundings): JobView {
  return Object.assign(renderRecord(job, surroundings), renderExpected(job, surroundings))
}

/**
 * The part of a view that follows from the record. It begins with a member of its own, as an object that begins with a
 * spread gets a new hidden class for each further member on Node 20: that took 15 times as long.
 */
export function renderRecord (job: Job, { alias, base }: RecordSurroundings): Omit<JobView, keyof ExpectedMembers> {
  const parameters = parametersOf(job)
  const result = resultOf(job)
  const progress = progressOf(job)
  return {
    status: job.status,
    ...jobIds(job.id),
    creation_timestamp: iso(job.createdAt),
    last_updated_timestamp: iso(job.updatedAt),
    started_timestamp: iso(job.startedAt),
    completion_timestamp: iso(job.endedAt),
    target_server_alias: alias,
    priority: job.priority,
    background: job.background,
    progress,
    progress_percentage: Math.round(progress * 1000) / 10,
    step: job.progress?.step ?? null,
    steps: job.progress?.steps ?? null,
    cancel_requested: isCancelling(job),
    generation_params: parameters,
    generation_params_json: stringifyJson(parameters),
    client_params: job.submission.clientFields ?? {},
    result_details: result,
    result_details_json: result === null ? null : stringifyJson(result),
    images: (job.result?.images ?? []).map(image => renderImage(image, base)),
    preview_url: previewOf(job, base),
    error: job.error === null ? null : { code: job.error.code, message: job.error.message },
    warnings: namingWarnings([...job.submission.warnings, ...job.result?.warnings ?? []]),
    attempts: job.attempts.map(({ run, server, startedAt, endedAt, error }) => ({
      run, server, started_at: iso(startedAt), ended_at: iso(endedAt), code: error.code, message: error.message
    })),
    retry_count: Math.max(0, job.starts - 1),
    app_type: job.submission.appType,
    source_info: job.submission.source,
    api_key_id: job.keyId,
    bulk_job_id: job.bulkId,
    channel: channelOf(job),
    user_id: job.submission.studio?.user ?? null,
    checkpoint_used: checkpointUsedBy(job),
    forge_session_hash: null,
    forge_internal_task_id: job.id,
    webhook: webhookOf(job, base),
    metadata: job.submission.metadata ?? null,
    model_availability: availabilityOf(job),
    links: jobLinks(job.id, base)
  }
}

/** The other part of a view. */
export function renderExpected (
  job: Pick<Job, 'status' | 'progress'>, { position, estimate, waitingFor }: Outlook
): ExpectedMembers {
  const expected = expectationOf(job, estimate)
  return {
    queue_position: position,
    waiting_for: waitingFor,
    estimated_time_remaining: job.status === 'processing' ? secondsOf(expected?.endsIn) : null,
    ...renderEstimate(job, expected)
  }
}

/** What a list shows of a job. */
export function renderShortJob (job: Job, surroundings: JobSurroundings): ShortJobView {
  return Object.assign(renderShortRecord(job, surroundings), renderShortExpected(job, surroundings))
}

/** The part of that which follows from the record. */
export function renderShortRecord (
  job: Job, { alias, base }: RecordSurroundings
): Omit<ShortJobView, keyof ShortExpectedMembers> {
  const { mode, parameters: { prompt, width, height, steps } } = job.submission
  return {
    id: job.id,
    status: job.status,
    alias,
    created_at: iso(job.createdAt),
    started_at: iso(job.startedAt),
    finished_at: iso(job.endedAt),
    mode,
    prompt: typeof prompt === 'string' ? cut(prompt) : '',
    size: typeof width === 'number' && typeof height === 'number' ? `${width}x${height}` : null,
    steps: typeof steps === 'number' ? steps : null,
    images: (job.result?.images ?? []).filter(({ role }) => role === 'image').map(({ name, width, height }) =>
      ({ filename: name, url: outputUrl(name, base), thumbnail_url: thumbnailUrl(name, base), width, height })),
    preview_url: previewOf(job, base),
    error: job.error === null ? null : { code: job.error.code, message: cut(job.error.message) },
    priority: job.priority,
    background: job.background,
    progress: progressOf(job),
    cancel_requested: isCancelling(job),
    checkpoint: job.submission.checkpointTitle ?? job.submission.checkpoint,
    checkpoint_used: checkpointUsedBy(job),
    channel: channelOf(job),
    api_key_id: job.keyId,
    user_id: job.submission.studio?.user ?? null,
    group: job.bulkId
  }
}

/** The other part of it. */
export function renderShortExpected (
  job: Pick<Job, 'status' | 'progress'>, { position, estimate, waitingFor }: Outlook
): ShortExpectedMembers {
  const { eta_seconds: eta, eta_seconds_p90: p90, estimated_start_time: startsAt } =
    renderEstimate(job, expectationOf(job, estimate))
  return { position, eta, eta_p90: p90, starts_at: startsAt, waiting_for: waitingFor }
}

function channelOf ({ submission: { dropIn, studio, source } }: Job): JobView['channel'] {
  if (source === 'openai') return 'openai'
  if (studio !== undefined) return 'bot'
  if (dropIn !== undefined || source === 'sdapi') return 'sdapi'
  return source === 'web ui' ? 'ui' : 'api'
}

/** The beginning of a long text, without half a character at its end. */
function cut (text: string): string {
  return text.length <= shortText ? text : text.slice(0, shortText).replace(/[\uD800-\uDBFF]$/, '')
}

function progressOf ({ status, progress }: Job): number {
  return status === 'completed' ? 1 : progress?.fraction ?? 0
}

function previewOf ({ id, status }: Job, base: string): string | null {
  return status === 'processing' ? previewUrl(id, base) : null
}

function isCancelling ({ status, cancelRequestedAt }: Job): boolean {
  return cancelRequestedAt !== null && !hasEnded(status)
}

function renderEstimate (
  { status }: Pick<Job, 'status'>, estimate: JobEstimate | null
): Pick<JobView, 'eta_seconds' | 'eta_seconds_p90' | 'estimated_start_time' | 'estimated_completion_time'> {
  const inSeconds = (seconds: number) => iso(Date.now() + seconds * 1000)
  return {
    ...renderSeconds(estimate),
    estimated_start_time: estimate === null || status !== 'pending' ? null : inSeconds(estimate.startsIn),
    estimated_completion_time: estimate === null ? null : inSeconds(estimate.endsIn)
  }
}

/** Seconds until an expected end. */
export function renderSeconds (estimate: JobEstimate | null): Pick<JobView, 'eta_seconds' | 'eta_seconds_p90'> {
  return { eta_seconds: secondsOf(estimate?.endsIn), eta_seconds_p90: secondsOf(estimate?.endsInP90) }
}

/** To the tenth, the limit of its precision. */
function secondsOf (seconds: number | undefined): number | null {
  return seconds === undefined ? null : Math.round(seconds * 10) / 10
}

function webhookOf ({ id, webhook }: Job, base: string): JobView['webhook'] {
  if (webhook === null) return null
  const { shownUrl, events, auth, images, format, endpoint, hasKey } = webhook
  return {
    url: shownUrl,
    events: [...events],
    auth,
    images,
    format,
    endpoint,
    has_key: hasKey,
    deliveries: `${base}/api/v2/jobs/${id}/webhooks`
  }
}

function renderImage ({ name, mime, width, height, bytes, sha256, seed, role }: JobImage, base: string) {
  return {
    filename: name,
    url: outputUrl(name, base),
    thumbnail_url: thumbnailUrl(name, base),
    mime,
    width,
    height,
    bytes,
    sha256,
    seed,
    seed_text: seedText(seed),
    role
  }
}

/** Clients read prompt, checkpoint and their own fields under their own names too. */
function parametersOf ({ submission }: Job): Record<string, unknown> {
  const { parameters, checkpoint, checkpointTitle, clientFields } = submission
  return {
    ...clientFields,
    ...parameters,
    positive_prompt: parameters.prompt ?? '',
    checkpoint_name: checkpointTitle ?? checkpoint ?? ''
  }
}

function resultOf ({ status, result, error, submission, attempts }: Job): Record<string, unknown> | null {
  const images = result?.images.filter(({ role }) => role === 'image').map(({ name }) => name) ?? []
  const shared = { images, saved_filenames: images, generation_info: result?.info ?? null }
  const kept = `${images.length} image${images.length === 1 ? ' is' : 's are'} kept under /outputs/.`
  if (status === 'completed') {
    return {
      message: `${images.length} image${images.length === 1 ? '' : 's'} generated.`,
      info: `The job completed; ${kept}`,
      submission_type: `sdapi_${submission.mode}`,
      ...shared,
      positive_prompt: submission.parameters.prompt ?? '',
      negative_prompt: submission.parameters.negative_prompt ?? ''
    }
  }
  if (status === 'failed') {
    const sentence = error?.message ?? ''
    return { error: sentence, info: `The job failed: ${sentence}`, details: detailsOf(error), attempts: attempts.length }
  }
  if (status === 'cancelled') {
    const message = 'The job was cancelled.'
    return {
      cancelled: true,
      message,
      info: images.length === 0 ? message : `The job was cancelled while it ran; ${kept}`,
      ...shared,
      partial: result?.partial ?? false
    }
  }
  return null
}

function availabilityOf ({ submission }: Job): Record<string, unknown> {
  const { checkpoint, checkpointTitle } = submission
  const hash = /\[([0-9a-f]{8,64})\]$/.exec(checkpointTitle ?? '')?.[1] ?? null
  const reason = checkpoint === null ? 'No checkpoint was named.' : 'Not checked yet.'
  return {
    available: checkpointTitle !== null,
    reason: checkpointTitle === null ? reason : null,
    civitai_model_id: null,
    hash,
    match_type: checkpointTitle === null ? null : 'title',
    checked_field: checkpoint === null ? 'N/A' : 'checkpoint_name',
    model_identifier: checkpointTitle ?? checkpoint
  }
}

function detailsOf (error: Job['error']): Omit<NonNullable<Job['error']>, 'answer'> | null {
  if (error === null) return null
  const { answer: _forClientsOfTheServer, ...details } = error
  return details
}
