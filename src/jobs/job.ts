import type { A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import type { JobStatus } from '../../schemas/job.ts'
import type { OnMissing } from '../a1111/resolve.ts'
import type { ErrorAnswer, FailureClass, GenerationMode } from '../a1111/types.ts'
import { parseJsonText, stringifyKeepingFloats, withFloatsOf } from '../lib/exact-json.ts'
import type { Keys } from '../lib/keys.ts'
import type { StoredImage } from '../lib/media-types.ts'
import type { Seed } from '../lib/seeds.ts'
import type { Tags } from '../media/tagger.ts'
import type { TraceParent } from '../telemetry/tracing.ts'
import type { DropInOrigin, BotOrigin } from './origin.ts'
import type { Subscription } from './webhook-request.ts'

type Info = Readonly<Record<string, unknown>>

/** Prompts of a job as its record has them anyway. */
export interface Prompts {
  readonly prompt?: unknown
  readonly negative_prompt?: unknown
}

/** Stands at the beginning of an infotext for the prompt; no text of A1111 begins so. */
const promptMark = '\u0001'

/** Fields of `info` that repeat a prompt, and the lists that repeat it for every image. */
const repeated = [
  { field: 'prompt', list: 'all_prompts', of: 'prompt' },
  { field: 'negative_prompt', list: 'all_negative_prompts', of: 'negative_prompt' }
] as const

/**
 * A1111's `info` without what it repeats of the prompts, which is most of it: a finished job takes a good deal less
 * memory. `unpackInfo` restores it exactly.
 */
export function packInfo (info: Info, prompts: Prompts): Info {
  const packed: Record<string, unknown> = withFloatsOf(info, { ...info })
  for (const { field, list, of } of repeated) {
    const text = prompts[of]
    if (typeof text !== 'string') continue
    if (packed[field] === text) packed[field] = 0
    const all = packed[list]
    if (Array.isArray(all) && all.every(item => item === text)) packed[list] = all.length
  }
  const { prompt } = prompts
  if (typeof prompt === 'string' && prompt !== '' && Array.isArray(packed.infotexts)) {
    packed.infotexts = packed.infotexts.map((text: unknown) =>
      typeof text === 'string' && text.startsWith(prompt) ? promptMark + text.slice(prompt.length) : text)
  }
  return packed
}

/** What `packInfo` was given. */
export function unpackInfo (packed: Info, prompts: Prompts): Info {
  const info: Record<string, unknown> = withFloatsOf(packed, { ...packed })
  for (const { field, list, of } of repeated) {
    const text = prompts[of]
    if (info[field] === 0) info[field] = text
    const count = info[list]
    if (typeof count === 'number') info[list] = Array.from({ length: count }, () => text)
  }
  if (Array.isArray(info.infotexts)) {
    info.infotexts = info.infotexts.map((text: unknown) =>
      typeof text === 'string' && text.startsWith(promptMark) ? String(prompts.prompt) + text.slice(1) : text)
  }
  return info
}

/** Something that the caller should know although the job goes on. */
export type JobWarning = Warning

/** Where a running generation is. */
export interface JobProgress {
  /** 0 to 1. */
  readonly fraction: number
  readonly step: number | null
  readonly steps: number | null
  readonly etaSeconds: number | null
}

/** Why a job failed, for callers. */
export interface JobError {
  readonly code: string
  readonly message: string
  readonly failureClass: FailureClass
  /** The server's own answer, where that is what the job failed of. */
  readonly answer?: ErrorAnswer
}

/** One generation that was tried and did not end the job well. */
export interface JobAttempt {
  readonly run: number
  readonly server: string
  readonly startedAt: number
  readonly endedAt: number
  readonly error: JobError
}

/** One image of a job, with the seed that made it where that is known. */
export interface JobImage extends StoredImage {
  readonly seed: Seed | null
}

/** What a job left behind; a cancelled one may have partial images. */
export interface JobResult {
  readonly images: readonly JobImage[]
  /** A1111's `info`, parsed. */
  readonly info: Readonly<Record<string, unknown>> | null
  /** Whether the generation was interrupted before its end. */
  readonly partial: boolean
  /** Where the answer differs from what was asked. */
  readonly warnings: readonly JobWarning[]
  /** Of its first image; only where they were asked for. */
  readonly tags?: Tags
}

/** Stands for the alias of a server that is no more. */
export const removedAlias = '(removed)'

/** What never changes after submission. */
export interface JobSubmission {
  readonly mode: GenerationMode
  /** In A1111's own field names, seed resolved, images as references. */
  readonly parameters: A1111Parameters
  /** The checkpoint as the client named it; null where it left the choice to the server. */
  readonly checkpoint: string | null
  /** That server's own title for it, found at submission. */
  readonly checkpointTitle: string | null
  /** Whether the caller named no server, so that any may run it. */
  readonly anyServer: boolean
  /** The application that it is for, by the client's own word, such as `forge`. */
  readonly appType: string
  /** Who sent it, by the client's own word, such as `civitai_browser_plus`. */
  readonly source: string
  /** What to do with names that the server lacks when the job is sent. */
  readonly onMissing: OnMissing
  /** What to make of an answer that differs from what was asked. */
  readonly onDifference: 'warn' | 'fail'
  readonly warnings: readonly JobWarning[]
  /** Only jobs of the drop-in have one. */
  readonly dropIn?: DropInOrigin
  /** Only jobs of the interface for bots and phones have one. */
  readonly studio?: BotOrigin
  /** Id of the request that submitted it, as its log line has it. */
  readonly requestId?: string
  /** The trace of that request, where requests are traced. */
  readonly trace?: TraceParent
  /** Whether a tagger is to look at the first image. */
  readonly autoTag?: boolean
  /** The caller's own JSON, given back as it came. */
  readonly metadata?: unknown
  /** What the client sent under names of its own. */
  readonly clientFields?: Readonly<Record<string, unknown>>
}

/** A job as Redis holds it. Moments are milliseconds since the epoch. */
export interface Job {
  readonly id: string
  readonly status: JobStatus
  /** Id of the server whose line it is in or was in. */
  readonly serverId: string
  /** Id of the access key that owns it; null for a job of the local UI or an admin token. */
  readonly keyId: string | null
  /** 1 to 10, 10 first. */
  readonly priority: number
  /** Raised whenever the job enters a line again; part of its queue entry's name. */
  readonly run: number
  /** Class of its queue entry: lower goes first, equal by arrival. */
  readonly lane: number
  /** Who runs it now: a worker process and its lease; null while nobody does. */
  readonly owner: string | null
  /** How many generations were begun. */
  readonly starts: number
  /** How many of them count against the allowed attempts. */
  readonly usedAttempts: number
  /** How often its server went away while it ran. */
  readonly crashes: number
  /**
   * Generations since it was accepted or retried that were sent, or may have been; together with `deaths` they bound
   * themselves: see `maxSends`.
   */
  readonly sends: number
  /** How many of them ended with their server out of reach, by its looks too. */
  readonly deaths: number
  /** The run with which it was accepted or last retried: attempts of earlier runs are history. */
  readonly firstRun: number
  readonly createdAt: number
  readonly updatedAt: number
  readonly startedAt: number | null
  readonly endedAt: number | null
  readonly cancelRequestedAt: number | null
  readonly bulkId: string | null
  readonly submission: JobSubmission
  readonly progress: JobProgress | null
  readonly result: JobResult | null
  readonly error: JobError | null
  readonly attempts: readonly JobAttempt[]
  /** Who is told of its events. */
  readonly webhook: Subscription | null
}

/** No job is sent more often than this, on whatever way it comes back into its line. */
export function maxSends ({ deaths }: Pick<Job, 'deaths'>, attempts: number): number {
  return attempts + deaths
}

/** Fields of a record that hold JSON. */
function json<Value> (text: string | undefined): Value | null {
  return text === undefined || text === '' ? null : parseJsonText(text) as Value
}

function timestamp (text: string | undefined): number | null {
  return text === undefined || text === '' ? null : Number(text)
}

/** The prompt is a field of its own, so that a search need not read the rest. */
export function packSubmission (submission: JobSubmission): { submission: string, prompt: string } {
  const { prompt, ...parameters } = submission.parameters
  return {
    submission: stringifyKeepingFloats({ ...submission, parameters }),
    prompt: typeof prompt === 'string' ? prompt : ''
  }
}

function unpackSubmission (text: string, prompt: string): JobSubmission {
  const submission = parseJsonText(text) as JobSubmission
  return { ...submission, parameters: { prompt, ...submission.parameters } }
}

/** The result as its record keeps it: without the prompts that the submission has anyway. */
export function packResult (result: JobResult, { parameters }: JobSubmission): JobResult {
  return { ...result, info: result.info === null ? null : packInfo(result.info, parameters) }
}

function unpackResult (result: JobResult | null, { parameters }: JobSubmission): JobResult | null {
  return result === null || result.info === null ? result : { ...result, info: unpackInfo(result.info, parameters) }
}

/** The job of a record as read from Redis; null where there is none. */
export function parseJob (id: string, fields: Readonly<Record<string, string>>): Job | null {
  const { status, submission } = fields
  if (status === undefined || submission === undefined) return null
  const submitted = unpackSubmission(submission, fields.prompt ?? '')
  return {
    id,
    status: status as JobStatus,
    serverId: fields.server ?? '',
    keyId: fields.key || null,
    priority: Number(fields.priority),
    run: Number(fields.run),
    lane: Number(fields.lane),
    owner: status === 'processing' ? fields.owner || null : null,
    starts: Number(fields.starts ?? 0),
    usedAttempts: Number(fields.used ?? 0),
    crashes: Number(fields.crashes ?? 0),
    sends: Number(fields.sends ?? 0),
    deaths: Number(fields.deaths ?? 0),
    firstRun: Number(fields.firstRun ?? 1),
    createdAt: Number(fields.created),
    updatedAt: Number(fields.updated),
    startedAt: timestamp(fields.started),
    endedAt: timestamp(fields.ended),
    cancelRequestedAt: timestamp(fields.cancel),
    bulkId: fields.bulk || null,
    submission: submitted,
    progress: json<JobProgress>(fields.progress),
    result: unpackResult(json<JobResult>(fields.result), submitted),
    error: json<JobError>(fields.error),
    attempts: json<JobAttempt[]>(fields.attempts) ?? [],
    webhook: json<Subscription>(fields.webhook)
  }
}

/** What the indexes can be asked for; what is left out may be anything. */
export interface IndexFilter {
  readonly keyId?: string
  readonly serverId?: string
  readonly status?: JobStatus
}

/** The sorted set of all jobs that fit a filter, scored by arrival. The scripts write under the same names. */
export function indexKey (keys: Keys, { keyId = '*', serverId = '*', status }: IndexFilter): string {
  return keys.key('jobs', keyId, serverId, status ?? '*')
}

/**
 * A place in line is (lane, arrival). The same lane is the BullMQ priority of the queue entry, where lower goes
 * first and equal goes by arrival, so the record's line and the queue agree.
 *
 * Between the lanes of two priorities there is room for jobs that people move. A place is lane × 10¹² + arrival and
 * has to stay an exact double, which is why the room is no larger.
 */
const laneWidth = 500

/** The first of all lanes, which is one that BullMQ takes. */
export const firstLane = 1

/** @param priority 1 to 10, 10 first */
export function laneOf (priority: number): number {
  return (11 - priority) * laneWidth
}

/**
 * The lane of a job that was in line before and enters it again through no fault of its own: ahead of all
 * that came with the same priority.
 */
export function laneOfReturn (lane: number): number {
  return lane % laneWidth !== 0 ? lane : lane - 1
}
