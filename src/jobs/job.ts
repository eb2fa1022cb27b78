import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import type { JobStatus } from '../../schemas/job.ts'
import type { OnMissing } from '../a1111/resolve.ts'
import type { ErrorAnswer, FailureClass, GenerationMode } from '../a1111/types.ts'
import { parseJsonText, stringifyKeepingFloats, withFloatsOf } from '../lib/exact-json.ts'
import type { Keys } from '../lib/keys.ts'
import type { StoredImage } from '../lib/media-types.ts'
import type { Seed } from '../lib/seeds.ts'
import type { OutputForm } from '../media/encode-form.ts'
import type { Tags } from '../media/tagger.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { TraceParent } from '../telemetry/tracing.ts'
import type { Subscription } from './webhook-request.ts'

/** Where a job of the A1111-compatible API came from; stored with the job. */
export interface DropInOrigin {
  /** The id of the job in `X-Job-ID`. */
  readonly shortId: string
  /** The client, as `callerOf` names it. */
  readonly caller: string
  /** Address of the client, behind trusted proxies only. */
  readonly ip: string
}

/** The user of the interface for bots, or of a client of OpenAI's API, who requested a job; stored with the job. */
export interface BotOrigin {
  /** The application's own name for its user. */
  readonly user: string
  /** The route that created it, such as `txt2img`; `openai` for OpenAI's. */
  readonly kind: string
}

type Info = Readonly<Record<string, unknown>>

/** A job's prompts, which its record has anyway. */
export interface Prompts {
  readonly prompt?: unknown
  readonly negative_prompt?: unknown
}

/** Replaces the prompt at the beginning of an infotext; no text of A1111 begins like this. */
const promptMark = '\u0001'

/** Fields of `info` that repeat a prompt, and the lists that repeat it for every image. */
const repeated = [
  { field: 'prompt', list: 'all_prompts', of: 'prompt' },
  { field: 'negative_prompt', list: 'all_negative_prompts', of: 'negative_prompt' }
] as const

/**
 * A1111's `info` without its repetitions of the prompts, which are most of it: a finished job takes far less memory.
 * `unpackInfo` restores it exactly.
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

/** Restores the argument of `packInfo`. */
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

/** A warning for the client; the job continues. */
export type JobWarning = Warning

/** The progress of a running generation. */
export interface JobProgress {
  /** 0 to 1. */
  readonly fraction: number
  readonly step: number | null
  readonly steps: number | null
  readonly etaSeconds: number | null
}

/** Why a job failed, for clients. */
export interface JobError {
  readonly code: string
  readonly message: string
  readonly failureClass: FailureClass
  /** The server's own answer, if that made the job fail. */
  readonly answer?: ErrorAnswer
}

/** One generation that failed. */
export interface JobAttempt {
  readonly run: number
  readonly server: string
  readonly startedAt: number
  readonly endedAt: number
  readonly error: JobError
}

/** One image of a job, with its seed if that is known. */
export interface JobImage extends StoredImage {
  readonly seed: Seed | null
}

/** The result of a job; a cancelled one can have partial images. */
export interface JobResult {
  readonly images: readonly JobImage[]
  /** A1111's `info`, parsed. */
  readonly info: Readonly<Record<string, unknown>> | null
  /** Whether the generation was interrupted. */
  readonly partial: boolean
  /** Differences between the answer and the request. */
  readonly warnings: readonly JobWarning[]
  /** Tags of its first image; only if they were requested. */
  readonly tags?: Tags
}

/** Replaces the alias of a removed server. */
export const removedAlias = '(removed)'

/** The alias of a job's server, for clients; `default`, as they name it, while any of several servers can take it. */
export function aliasOf (registry: Pick<ServerRegistry, 'byId' | 'list'>, serverId: string): string {
  if (serverId !== '') return registry.byId(serverId)?.alias ?? removedAlias
  const [only, ...others] = registry.list().filter(({ enabled }) => enabled)
  return only === undefined || others.length > 0 ? 'default' : only.alias
}

/** The part of a job that never changes after submission. */
export interface JobSubmission {
  readonly mode: GenerationMode
  /** In A1111's own field names, seed resolved, images as references. */
  readonly parameters: A1111Parameters
  /** The checkpoint as the client named it; null if the client left the choice to the server. */
  readonly checkpoint: string | null
  /** That server's own title for it, found at submission. */
  readonly checkpointTitle: string | null
  /** Whether the client named no server, so that any can run it. */
  readonly anyServer: boolean
  /** The application that it is for, in the client's own word, such as `forge`. */
  readonly appType: string
  /** The program that sent it, in the client's own word, such as `civitai_browser_plus`. */
  readonly source: string
  /** How to treat names that the server lacks when the job is sent. */
  readonly onMissing: OnMissing
  /** How to treat an answer that differs from the request. */
  readonly onDifference: 'warn' | 'fail'
  /** How its images are stored; without it, as the server sends them. */
  readonly output?: OutputForm
  readonly warnings: readonly JobWarning[]
  /** Only jobs of the A1111-compatible API have one. */
  readonly dropIn?: DropInOrigin
  /** Only jobs of the interface for bots and phones, and of OpenAI's API, have one. */
  readonly studio?: BotOrigin
  /** Id of the request that submitted it, as in its log line. */
  readonly requestId?: string
  /** The trace of that request, if requests are traced. */
  readonly trace?: TraceParent
  /** Whether a tagger processes the first image. */
  readonly autoTag?: boolean
  /** The client's own JSON, returned unchanged. */
  readonly metadata?: unknown
  /** Values that the client sent under names of its own. */
  readonly clientFields?: Readonly<Record<string, unknown>>
}

/** What a waiting job needs of a server. Jobs with equal needs form a class, which the pool keeps together. */
export interface Needs {
  /** Id of the only server that can run it; empty for any. */
  readonly target: string
  /** The checkpoint as the client named it; null for the server's own. */
  readonly checkpoint: string | null
  /** Ids of servers that lack something that it names, in order. */
  readonly lacking: readonly string[]
  /** Ids of servers where it failed, in order: they run it only if no other server is left. */
  readonly failed: readonly string[]
  /** Whether names that a server lacks are omitted. */
  readonly lenient: boolean
}

/** A job as Redis holds it. Timestamps are milliseconds since the epoch. */
export interface Job {
  readonly id: string
  readonly status: JobStatus
  /** Id of the server that claimed or ran it, or that it needs; empty while any server can take it. */
  readonly serverId: string
  /** Id of the only server that it needs; empty for any. */
  readonly target: string
  /** What it needs of a server; null in a record of an earlier version. */
  readonly needs: Needs | null
  /** The class of jobs with these needs; empty in a record of an earlier version. */
  readonly jobClass: string
  /** The server's own checkpoint when it was claimed, for a job that names none; null if unknown. */
  readonly fixedCheckpoint: string | null
  /** Id of the access key that owns it; null for a job of the local UI or an admin token. */
  readonly keyId: string | null
  /** 1 to 10, 10 first. */
  readonly priority: number
  /** Whether it yields to all jobs that are not in the background. */
  readonly background: boolean
  /** Raised whenever the job enters a queue again; part of its queue entry's name. */
  readonly run: number
  /** The worker process that runs it and its lease; null while none does. */
  readonly owner: string | null
  /** Number of generations begun. */
  readonly starts: number
  /** Number of those that count against the allowed attempts. */
  readonly usedAttempts: number
  /** Number of times that its server went away while it ran. */
  readonly crashes: number
  /** Generations that were, or could have been, sent since it was accepted or retried; see `maxSends`. */
  readonly sends: number
  /** Number of those that lost their server, which did not answer its probes either. */
  readonly deaths: number
  /** The run with which it was accepted or last retried; attempts of earlier runs no longer count. */
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
  /** The subscriber to its events. */
  readonly webhook: Subscription | null
}

/** No job is sent more often than this, whatever returns it to its queue. */
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

/** What most submissions have, which a record leaves out. */
const usual = {
  checkpoint: null, checkpointTitle: null, anyServer: false, onMissing: 'refuse', onDifference: 'warn', warnings: []
} as const
const usualValues = Object.entries(usual)

/** The prompt is a separate field, so that a search does not read the rest. */
export function packSubmission (submission: JobSubmission): { submission: string, prompt: string } {
  const { parameters, warnings } = submission
  const { prompt } = parameters
  // JSON omits what is undefined.
  const kept: Record<string, unknown> = { ...submission, parameters: { ...parameters, prompt: undefined } }
  for (const [name, value] of usualValues) if (kept[name] === value) kept[name] = undefined
  if (warnings.length === 0) kept.warnings = undefined
  return { submission: stringifyKeepingFloats(kept), prompt: typeof prompt === 'string' ? prompt : '' }
}

function unpackSubmission (text: string, prompt: string): JobSubmission {
  const submission = parseJsonText(text) as JobSubmission
  return { ...usual, ...submission, parameters: { prompt, ...submission.parameters } }
}

/** A result as its record has it, with the names of its images. */
export interface PackedResult {
  readonly text: string
  readonly outputs: readonly string[]
}

/** What most results contain, the most frequent last. A change of it needs another `packing`. */
const usualResult = ',"tags":{"role":"grid","extra","mime":"image/webp","mime":"image/jpeg","warnings":[{"code":"different_' +
  '","field":"","message":"The server used the ","partial":true,"refiner","Hires upscale","Denoising strength":0.7,' +
  'Hires upscaler: Latent, Hires steps: , VAE hash: , VAE: , Clip skip: 2, Lora hashes: , ControlNet 0: , TI hashes: ' +
  'Euler aUniDDIMDPM++ SDEDPM++ 3MDPM++ 2M SDEExponentialSGM UniformSimpleAutomaticKarras' +
  '{"images":[{"name":"2026-01-01T00-00-00-000Z_0.png","mime":"image/png","width":1024,"height":1024,"width":512,' +
  '"height":512,"bytes":1,"sha256":"0123456789abcdef","role":"image","seed":1}],"info":{"prompt":0,"all_prompts":1,' +
  '"negative_prompt":0,"all_negative_prompts":1,"seed":1,"all_seeds":[1],"subseed":1,"all_subseeds":[1],' +
  '"subseed_strength":0,"width":512,"height":512,"sampler_name":"DPM++ 2M","cfg_scale":7.0,"steps":20,"batch_size":1,' +
  '"restore_faces":false,"face_restoration_model":null,"sd_model_name":"","sd_model_hash":"","sd_vae_name":null,' +
  '"sd_vae_hash":null,"seed_resize_from_w":-1,"seed_resize_from_h":-1,"denoising_strength":null,' +
  '"extra_generation_params":{"Schedule type":"Karras"},"index_of_first_image":0,"infotexts":["\\u0001\\nNegative prompt: ' +
  '\\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.0, Seed: 1, Size: 512x512, Model hash: , ' +
  'Model: , Version: v1.10.1"],"styles":[],"job_timestamp":"20260101000000","clip_skip":1,' +
  '"is_using_inpainting_conditioning":false,"version":"v1.10.1"},"partial":false,"warnings":[]}'

/** Before the parts that scripts read: the number of images, the packed rest, the name of the checkpoint. */
const packing = 'z1'

/** The prompts, which infotexts repeat, are part of the dictionary; deflate looks back 32 KiB at most. */
function dictionaryOf ({ prompt, negative_prompt: negative }: Prompts): Buffer {
  return Buffer.from([usualResult, negative, prompt].filter(part => typeof part === 'string').join('')).subarray(-32_000)
}

/** The result for the record: packed, without the prompts, which the submission has anyway. */
export function packResult (result: JobResult, { parameters }: Pick<JobSubmission, 'parameters'>): PackedResult {
  const { images } = result
  const packed = { ...result, info: result.info === null ? null : packInfo(result.info, parameters) }
  const rest = deflateRawSync(stringifyKeepingFloats(packed), { dictionary: dictionaryOf(parameters), level: 9 })
  const model = result.info?.sd_model_name
  return {
    text: `${packing};${images.length};${rest.toString('base64')};${typeof model === 'string' ? model : ''}`,
    outputs: images.map(({ name }) => name)
  }
}

/** @param text null or empty if there is none; plain JSON in a record of an earlier version */
export function unpackResult (
  text: string | null | undefined, { parameters }: Pick<JobSubmission, 'parameters'>
): JobResult | null {
  if (text === undefined || text === null || text === '') return null
  const [mark, , rest = ''] = text.split(';', 3)
  const plain = mark === packing
    ? inflateRawSync(Buffer.from(rest, 'base64'), { dictionary: dictionaryOf(parameters) }).toString()
    : text
  const result = parseJsonText(plain) as JobResult
  return result.info === null ? result : { ...result, info: unpackInfo(result.info, parameters) }
}

/** The job of a record read from Redis; null if there is none. */
export function parseJob (id: string, fields: Readonly<Record<string, string>>): Job | null {
  const { status, submission } = fields
  if (status === undefined || submission === undefined) return null
  const submitted = unpackSubmission(submission, fields.prompt ?? '')
  return {
    id,
    status: status as JobStatus,
    serverId: fields.server ?? '',
    target: fields.target ?? (submitted.anyServer ? '' : fields.server ?? ''),
    needs: json<Needs>(fields.needs),
    jobClass: fields.class ?? '',
    fixedCheckpoint: fields.fixed || null,
    keyId: fields.key || null,
    priority: Number(fields.priority),
    background: fields.background === '1',
    run: Number(fields.run),
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
    result: unpackResult(fields.result, submitted),
    error: json<JobError>(fields.error),
    attempts: json<JobAttempt[]>(fields.attempts) ?? [],
    webhook: json<Subscription>(fields.webhook)
  }
}

/** What the indexes can filter by; omitted members match anything. */
export interface IndexFilter {
  readonly keyId?: string
  readonly serverId?: string
  readonly status?: JobStatus
  /** True: only jobs of the background lane. The indexes cannot leave them out. */
  readonly background?: boolean
}

/** The sorted set of all jobs that match a filter, scored by arrival. The scripts write under the same names. */
export function indexKey (keys: Keys, { keyId = '*', serverId = '*', status, background }: IndexFilter): string {
  return keys.key('jobs', background === true ? `~${keyId}` : keyId, serverId, status ?? '*')
}

/**
 * The weight of a priority, within a share and between shares: 10 gets twice as many turns as 5, and 1 a quarter.
 * @param priority 1 to 10, 10 first
 */
export function weightOf (priority: number): number {
  return Math.round(2 ** (priority >= 5 ? (priority - 5) / 5 : (priority - 5) / 2) * 1000) / 1000
}
