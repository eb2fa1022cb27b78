import { randomUUID } from 'node:crypto'
import type { GenerationRequest, Mode } from '../../a1111/request-model.ts'
import { HttpException, ProcessDied } from '../../fastapi/errors.ts'
import { noteFloat, stringifyJson } from '../../lib/exact-json.ts'
import { seedAfter } from '../../lib/seeds.ts'
import type { CheckpointFile } from '../checkpoints.ts'
import { runControlNet } from '../controlnet/units.ts'
import type { Fault, StruckFaults } from '../faults/faults.ts'
import { strikeAtStart, untilGoneOrDead } from '../faults/strike.ts'
import { profiles } from '../flavors.ts'
import { readSource } from '../images/fetch.ts'
import { arrangeGrid, type Bitmap, decodeImage } from '../images/pixels.ts'
import { createTaskId } from '../progress.ts'
import type { GenerationRecord } from '../records.ts'
import { runRegionalPrompter } from '../regional.ts'
import { loadCheckpoint, selectedCheckpoint, type ServerProcess } from '../server-process.ts'
import { tripOverMissingArguments } from '../start.ts'
import { beginJob, endJob } from '../state.ts'
import { runJob } from './job.ts'
import { optionMarks } from './option-marks.ts'
import type { InitImages } from './painter.ts'
import { floor8, type Plan, planGeneration } from './plan.ts'
import { checkScripts, tracesOf } from './scripts.ts'

interface UsedCheckpoint { readonly name: string, readonly hash: string }

/** The text that goes into an image and into `info.infotexts`: prompt, negative prompt, parameters. */
function writeInfotext (
  plan: Plan, index: number, checkpoint: UsedCheckpoint,
  settings: { readonly marks: Readonly<Record<string, unknown>>, readonly version: string }
): string {
  const parameters: Record<string, unknown> = {
    Steps: plan.steps,
    Sampler: plan.sampler.name,
    'Schedule type': plan.schedulerLabel,
    'CFG scale': asFloat(plan.cfgScale),
    Seed: plan.seeds[index],
    Size: `${plan.width}x${plan.height}`,
    'Model hash': checkpoint.hash,
    Model: checkpoint.name,
    'Variation seed': plan.subseedStrength === 0 ? null : plan.subseeds[index],
    'Variation seed strength': plan.subseedStrength === 0 ? null : plan.subseedStrength,
    'Denoising strength': plan.extraParameters['Denoising strength'],
    ...settings.marks,
    ...plan.extraParameters,
    'Hires upscale': asFloat(plan.extraParameters['Hires upscale']),
    Version: settings.version
  }
  const line = Object.entries(parameters)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name}: ${quote(pythonText(value))}`)
    .join(', ')
  const negative = plan.negativePrompts[index]
  return [plan.prompts[index], negative ? `Negative prompt: ${negative}` : '', line]
    .filter(part => part !== '')
    .join('\n')
    .trim()
}

/** Python prints a float with its fraction, even when there is none. */
function asFloat (value: unknown): unknown {
  return typeof value === 'number' && Number.isInteger(value) ? value.toFixed(1) : value
}

function pythonText (value: unknown): string {
  return typeof value === 'boolean' ? (value ? 'True' : 'False') : String(value)
}

function quote (value: string): string {
  return /[,\n:]/.test(value) ? stringifyJson(value) : value
}

/** The object whose JSON text is the answer's `info`; it lists all seeds that were planned, even when interrupted. */
function describeGeneration (
  plan: Plan, checkpoint: UsedCheckpoint,
  outcome: {
    readonly infotexts: readonly string[]
    readonly firstImage: number
    readonly jobTimestamp: string
    readonly clipSkip: number
    readonly version: string | null
    /** The model that restored faces; null if none did. */
    readonly faceModel: unknown
  }
): Record<string, unknown> {
  const info: Record<string, unknown> = {
    prompt: plan.prompts[0],
    all_prompts: plan.prompts,
    negative_prompt: plan.negativePrompts[0],
    all_negative_prompts: plan.negativePrompts,
    seed: plan.seeds[0],
    all_seeds: plan.seeds,
    subseed: plan.subseeds[0],
    all_subseeds: plan.subseeds,
    subseed_strength: plan.subseedStrength,
    width: plan.width,
    height: plan.height,
    sampler_name: plan.sampler.name,
    cfg_scale: plan.cfgScale,
    steps: plan.steps,
    batch_size: plan.batchSize,
    restore_faces: outcome.faceModel !== null,
    face_restoration_model: outcome.faceModel,
    sd_model_name: checkpoint.name,
    sd_model_hash: checkpoint.hash,
    sd_vae_name: null,
    sd_vae_hash: null,
    seed_resize_from_w: -1,
    seed_resize_from_h: -1,
    denoising_strength: plan.denoisingStrength,
    extra_generation_params: plan.extraParameters,
    index_of_first_image: outcome.firstImage,
    infotexts: outcome.infotexts,
    styles: plan.styles,
    job_timestamp: outcome.jobTimestamp,
    clip_skip: outcome.clipSkip,
    is_using_inpainting_conditioning: false,
    ...outcome.version === null ? {} : { version: outcome.version }
  }
  for (const name of ['cfg_scale', 'denoising_strength']) noteFloat(info, name)
  return info
}

/**
 * Decodes the start images of img2img. A1111 does it under the job lock but before the job begins, so that a broken
 * image leaves its task pending for ever.
 *
 * @throws HttpException 500 for bytes that are no image, or for an address that must not be fetched
 */
async function readInitImages (server: ServerProcess, request: GenerationRequest): Promise<InitImages> {
  const size = { width: Math.max(8, floor8(request.width)), height: Math.max(8, floor8(request.height)) }
  const read = async (image: unknown): Promise<Buffer> => {
    if (typeof image !== 'string') throw new HttpException(500, 'Invalid encoded image')
    return await readSource(server.options, image)
  }
  const bitmaps = []
  for (const image of request.init_images ?? []) bitmaps.push(await decodeImage(await read(image), size))
  const mask = request.mask ? await decodeImage(await read(request.mask), size) : null
  if (mask !== null && request.inpainting_mask_invert) {
    mask.data.forEach((value, index) => { mask.data[index] = 255 - value })
  }
  return { bitmaps, mask }
}

/**
 * Runs work under a request's `override_settings`. An unknown checkpoint is dropped silently; the selection is restored
 * afterwards but the loaded checkpoint stays; keys that were not set before leak. If the process dies, nothing is
 * restored, and its config file can have been saved meanwhile.
 *
 * @throws PythonError for an option that does not exist
 */
async function withOverrides<Result> (
  server: ServerProcess, request: GenerationRequest, work: () => Promise<Result>
): Promise<Result> {
  const { options, checkpoints } = server
  const overrides = { ...request.override_settings }
  const before = options.remember(Object.keys(overrides))
  if (checkpoints.find(overrides.sd_model_checkpoint) === undefined) delete overrides.sd_model_checkpoint
  try {
    for (const [key, value] of Object.entries(overrides)) options.set(key, value)
    await loadCheckpoint(server, selectedCheckpoint(server))
    return await work()
  } finally {
    if (request.override_settings_restore_afterwards !== false && server.machine.restores === 'saved') {
      for (const [key, value] of Object.entries(before)) options.write(key, value)
    }
  }
}

/** A finished generation, before its images are encoded. */
export interface Generation {
  /** Grid first if there is one, then the images, then ControlNet's maps. */
  readonly bitmaps: readonly Bitmap[]
  /** One for each image. */
  readonly infotexts: readonly string[]
  readonly info: Record<string, unknown>
}

/**
 * One generation request from its arrival to its images: checks, task, lock, job.
 *
 * @throws HttpException, PythonError for requests that A1111 refuses or fails on
 * @throws ProcessDied when the process dies under it
 */
export async function generate (
  server: ServerProcess, request: GenerationRequest, mode: Mode, faults: StruckFaults
): Promise<Generation> {
  if (mode === 'img2img' && request.init_images == null) throw new HttpException(404, 'Init image not found')
  checkScripts(server, request, mode)
  checkSampler(server, request)
  if (server.start.phase() === 'mounting') server.machine.records.countEarlyWork()
  tripOverMissingArguments(server.start.phase(), request)
  const known = server.machine.settings.knowsTasks ? request.force_task_id : null
  const taskId = known || createTaskId(mode)
  server.tasks.add(taskId)
  return await server.jobLock.run(async () => {
    const stuck = faults.get('stuck-lock')
    if (stuck !== undefined) await untilGoneOrDead(server, stuck)
    const init = mode === 'img2img' ? await readInitImages(server, request) : null
    if (server.life.aborted) throw new ProcessDied()
    return await runUnderLock(server, request, { mode, faults, taskId, init })
  })
}

/** SD.Next alone refuses a sampler that it has not got. */
function checkSampler ({ machine, lists }: ServerProcess, { sampler_name: name }: GenerationRequest): void {
  if (machine.settings.flavor !== 'sdnext' || name == null || lists.samplers.some(one => one.name === name)) return
  throw new HttpException(404, 'Sampler not found')
}

/** SD.Next's list of requests, in which one that failed never ends. */
function noteRequest ({ machine, history }: ServerProcess, mode: Mode): () => void {
  if (machine.settings.flavor !== 'sdnext') return () => {}
  const entry = { id: randomUUID().slice(0, 15), job: mode === 'txt2img' ? 'api-txt' : 'api-img' }
  history.push({ ...entry, op: 'begin' })
  return () => { history.push({ ...entry, op: 'end' }) }
}

interface Context {
  readonly mode: Mode
  readonly faults: StruckFaults
  readonly taskId: string
  readonly init: InitImages | null
}

async function runUnderLock (
  server: ServerProcess, request: GenerationRequest, context: Context
): Promise<Generation> {
  const { state, tasks, machine } = server
  beginJob(state, `scripts_${context.mode}`)
  const end = noteRequest(server, context.mode)
  tasks.start(context.taskId)
  const record = machine.records.begin({
    taskId: request.force_task_id,
    mode: context.mode,
    prompt: request.prompt ?? '',
    checkpoint: server.memory.loaded?.name ?? '',
    seed: request.seed,
    overrides: request.override_settings
  })
  try {
    await strikeAtStart(server, context.faults)
    const work = async () => await make(server, request, context, record)
    const generation = await withOverrides(server, request, work)
    tasks.finish(context.taskId)
    end()
    record.outcome = 'done'
    return generation
  } catch (error) {
    record.outcome = error instanceof ProcessDied ? 'lost' : 'failed'
    throw error
  } finally {
    record.finishedAt = Date.now()
    server.memory.frozenState = null
    endJob(state)
  }
}

async function make (
  server: ServerProcess, request: GenerationRequest, context: Context, record: GenerationRecord
): Promise<Generation> {
  const { faults, init } = context
  await useWrongCheckpoint(server, faults.get('wrong-checkpoint'))
  const asked = faults.has('wrong-seed') ? { ...request, seed: seedAfter(request.seed ?? 0, 1000) } : request
  const planned = planGeneration(server, asked, context.mode, init?.bitmaps.length ?? 1)
  const plan = faults.has('wrong-size') ? withOtherSize(planned) : planned
  const controlNet = await runControlNet(server, request, { plan, faults })
  const regional = runRegionalPrompter(server, request, faults)
  Object.assign(plan.extraParameters, controlNet.extraParameters, regional.extraParameters,
    tracesOf(request, server.machine.settings, faults.has('script-error')))
  const file = server.memory.loaded as CheckpointFile
  const marks = optionMarks(server.options, request)
  Object.assign(record, { checkpoint: file.name, seed: plan.seeds[0] ?? null, marks })
  const effects = { regionsOf: regional.regionsOf, control: controlNet.apply }
  const { bitmaps } = await runJob(server, plan, { init, effects, faults, record })
  record.imageCount = bitmaps.length
  const { maps } = controlNet
  const isGridWanted = request.save_images || plan.isGridForced
  return assemble(server, plan, file, { bitmaps, maps, marks: record.marks, isGridWanted })
}

function withOtherSize (plan: Plan): Plan {
  if (plan.hires !== null) return { ...plan, hires: null }
  return { ...plan, imageWidth: floor8(plan.imageWidth / 2), imageHeight: floor8(plan.imageHeight / 2) }
}

function assemble (
  server: ServerProcess, plan: Plan, file: CheckpointFile,
  made: {
    readonly bitmaps: readonly Bitmap[]
    readonly maps: readonly Bitmap[]
    readonly marks: GenerationRecord['marks']
    readonly isGridWanted: boolean
  }
): Generation {
  const { options, state, machine } = server
  const checkpoint = { name: file.shortName, hash: file.sha256.slice(0, 10) }
  const { version } = profiles[machine.settings.flavor]
  const clipSkip = Number(options.get('CLIP_stop_at_last_layers'))
  const textFor = (index: number): string => writeInfotext(plan, index, checkpoint, {
    marks: made.marks, version: version ?? 'SD.Next'
  })
  const isAlone = plan.isGridAlone && made.bitmaps.length > 0
  const hasGrid = isAlone || (made.isGridWanted && made.bitmaps.length > 1 && options.get('return_grid') === true)
  const shown = isAlone ? [] : made.bitmaps
  const images = hasGrid ? [arrangeGrid(made.bitmaps), ...shown] : [...shown]
  const texts = shown.map((_, index) => textFor(index))
  const infotexts = hasGrid ? [textFor(0), ...texts] : texts
  const info = describeGeneration(plan, checkpoint, {
    infotexts: infotexts.length > 0 ? infotexts : [textFor(0)],
    firstImage: hasGrid ? 1 : 0,
    jobTimestamp: state.jobTimestamp,
    clipSkip,
    version,
    faceModel: made.marks['Face restoration'] ?? null
  })
  return {
    bitmaps: [...images, ...made.maps],
    infotexts: [...infotexts, ...made.maps.map(() => textFor(0))],
    info
  }
}

async function useWrongCheckpoint (server: ServerProcess, fault: Fault | undefined): Promise<void> {
  if (fault === undefined) return
  const other = server.checkpoints.list().find(file => file !== server.memory.loaded)
  if (other !== undefined) await loadCheckpoint(server, other)
}
