import { largestSeed, readInteger, type Seed } from '../lib/seeds.ts'
import { invalidField, isRecord, isUnchosen, isUnset, without } from './field-values.ts'
import { readForeignText } from './foreign/read-texts.ts'
import { toParameters } from './infotext-parameters.ts'
import { parseInfotext } from './infotext.ts'

/** Values before normalising: any client's names and types. */
export type GivenFields = Readonly<Record<string, unknown>>

/**
 * The fields of a body in any of the shapes that clients send: a plain object, or the values of a Gradio form.
 * @throws ServiceError `invalid_field_value` when it is none of them
 */
export function fieldsOf (given: unknown): GivenFields {
  if (!isRecord(given)) throw invalidField('generation_params', name => `${name} must be an object of generation parameters.`)
  // a form beside an infotext is what that was made from
  if (!isUnset(rawInfotext(given))) return given
  if ('prompt' in given || 'positive_prompt' in given) return given
  if (given.type === 'gradio_raw') return fieldsOfGradioForm(given.raw_payload)
  if (given.type === 'gradio' && isRecord(given.raw_payload)) return given.raw_payload
  return given
}

/** The infotext of the request, if the client sent one. */
export function rawInfotext (given: GivenFields): unknown {
  return isUnset(given.generation_info_raw) ? given.raw_generation_info : given.generation_info_raw
}

/** Longest infotext that is read, in characters; A1111's own rarely pass 5,000. */
const longestInfotext = 100_000

export interface InfotextFields {
  readonly fields: GivenFields
  /** Parts of the text without a counterpart here, one sentence each. */
  readonly notes: readonly string[]
}

/**
 * The fields of an infotext, or of another program's text.
 * @throws ServiceError `invalid_field_value`
 */
export function fieldsOfInfotext (field: string, text: unknown): InfotextFields {
  if (typeof text !== 'string' || text.length > longestInfotext) {
    throw invalidField(field, name => `${name} must be text of at most ${longestInfotext} characters.`)
  }
  const { infotext, notes } = readForeignText(text) ?? { infotext: parseInfotext(text), notes: [] }
  if (infotext === null) throw invalidField(field, name => `${name} must be generation parameters as text. ${notes.join(' ')}`)
  return { fields: toParameters(infotext), notes }
}

/**
 * Indexes by which the Forge extension's first version read the values of Forge's txt2img tab. The tab has changed with
 * every version since, so values that do not fit their index are omitted.
 */
function fieldsOfGradioForm (payload: unknown): GivenFields {
  const data: unknown = isRecord(payload) ? payload.data : undefined
  if (!Array.isArray(data)) throw invalidField('raw_payload.data', 'A gradio_raw submission needs the list raw_payload.data.')
  const sampler = textAt(data, 23)
  return {
    prompt: textAt(data, 0) ?? '',
    negative_prompt: textAt(data, 2),
    seed: seedAt(data, 17),
    batch_size: wholeAt(data, 21, 1, 8),
    sampler_name: sampler === 'Balanced' ? undefined : sampler,
    checkpoint_name: data.find((value, index) => index !== 0 && index !== 2 && isModelFile(value))
  }
}

function textAt (data: readonly unknown[], index: number): string | undefined {
  const value = data[index]
  return typeof value === 'string' ? value : undefined
}

function wholeAt (data: readonly unknown[], index: number, minimum: number, maximum: number): number | undefined {
  const value = data[index]
  return Number.isSafeInteger(value) && Number(value) >= minimum && Number(value) <= maximum ? Number(value) : undefined
}

function seedAt (data: readonly unknown[], index: number): Seed | undefined {
  const seed = typeof data[index] === 'string' ? undefined : readInteger(data[index])
  return seed !== undefined && seed >= -1 && seed <= largestSeed ? seed : undefined
}

function isModelFile (value: unknown): boolean {
  return typeof value === 'string' && value.length <= 1000 && /\.(safetensors|ckpt)(\s*\[[0-9a-f]+\])?\s*$/i.test(value)
}

/** Names without a fixed meaning: used in the compatibility check if the server knows them, else ignored. */
export interface Hints {
  readonly sampler?: string
  readonly scheduler?: string
  readonly style?: string
}

/** A submission's fields under A1111's names, and values for which A1111 has no field. */
export interface TranslatedFields {
  readonly fields: Readonly<Record<string, unknown>>
  /** As the client named it, followed by its hash if both were given. */
  readonly checkpoint: string | null
  readonly hints: Hints
  /** Lists of LoRAs by the field that they came in. */
  readonly loras: ReadonlyMap<string, unknown>
  /** As given; undefined if the fields decide. */
  readonly mode: unknown
  readonly infotext: unknown
}

/** Other names of A1111's fields. Where several are given, A1111's own wins, then the first of these. */
const renamed: ReadonlyArray<readonly [string, string]> = [
  ['positive_prompt', 'prompt'],
  ['num_images', 'n_iter'],
  ['batch_count', 'n_iter'],
  ['enable_hires_fix', 'enable_hr'],
  ['upscaler_model', 'hr_upscaler'],
  ['refiner_model', 'refiner_checkpoint'],
  ['sampler', 'sampler_name'],
  ['sampler_index', 'sampler_name']
]

/** Fields that are settings of the server to A1111. */
const settings: ReadonlyArray<readonly [string, string]> = [
  ['clip_skip', 'CLIP_stop_at_last_layers'],
  ['vae', 'sd_vae']
]

const checkpointNames = ['checkpoint_name', 'sd_checkpoint', 'checkpoint']
const checkpointHashes = ['model_hash', 'checkpoint_hash', 'autov2_hash', 'sha256_hash']
const hintNames = { sampler: 'sampling_category', scheduler: 'scheduler_or_quality_preset', style: 'style_preset' } as const
const hintEntries = Object.entries(hintNames)
const loraNames = ['loras', 'lora']

/** Fields that are omitted without a warning: the service decides them, or they concern only the client. */
const ignored = [
  'send_images', 'save_images', 'do_not_save_samples', 'do_not_save_grid', 'include_init_images',
  'override_settings_restore_afterwards', 'force_task_id', 'app_type', 'type', 'mode', 'infotext', 'raw_payload',
  'generation_info_raw', 'raw_generation_info'
]

/** The first name of a field that has several. */
export function canonicalName (name: string): string {
  const [, own] = renamed.find(([other]) => other === name) ?? []
  return own ?? [checkpointNames, checkpointHashes].find(names => names.includes(name))?.[0] ?? name
}

/** Fields that are not A1111's own and mean something here. */
export const understood: ReadonlySet<string> = new Set([
  ...[...renamed, ...settings].map(([name]) => name), ...checkpointNames, ...checkpointHashes,
  ...Object.values(hintNames), ...loraNames, ...ignored
])

/** Of a submission with only A1111's own names, as most have. */
const untranslated: Omit<TranslatedFields, 'fields'> = {
  checkpoint: null, hints: {}, loras: new Map(), mode: undefined, infotext: undefined
}

/**
 * A submission's fields under A1111's names; values stay as they are.
 * @throws ServiceError `invalid_field_value` for anything but a name where a name is expected
 */
export function translateFields (given: GivenFields): TranslatedFields {
  const own = without(given, name => understood.has(name) || isUnset(given[name]))
  const hasOthers = Object.keys(given).some(name => understood.has(name))
  if (!hasOthers && isUnset(given.override_settings)) return { fields: own, ...untranslated }
  const overrides = isRecord(given.override_settings) ? { ...given.override_settings } : {}
  const { sd_model_checkpoint: checkpointSetting, ...otherSettings } = overrides
  const fields = { ...own }
  for (const [name, own] of renamed) fillIn(fields, own, given[name])
  for (const [name, own] of settings) fillIn(otherSettings, own, given[name])
  if (isUnset(given.override_settings) || isRecord(given.override_settings)) fields.override_settings = otherSettings
  return {
    fields,
    checkpoint: checkpointOf(given, checkpointSetting),
    hints: hintsOf(given),
    loras: new Map(loraNames.filter(name => !isUnset(given[name])).map(name => [name, given[name]])),
    mode: isUnset(given.mode) ? modeOfType(given.type) : given.mode,
    infotext: given.infotext
  }
}

/** The fields with some of them changed, whichever of its names a change uses. */
export function withChanges (before: GivenFields, changes: GivenFields): GivenFields {
  const overrides = isRecord(before.override_settings) ? { ...before.override_settings } : {}
  for (const [name, own] of settings) if (Object.hasOwn(changes, name)) Reflect.deleteProperty(overrides, own)
  const replaced = new Set(renamed.filter(([name]) => Object.hasOwn(changes, name)).map(([, own]) => own))
  if ([...checkpointNames, ...checkpointHashes].some(name => Object.hasOwn(changes, name))) {
    for (const name of checkpointNames) replaced.add(name)
  }
  return { ...without(before, name => replaced.has(name)), override_settings: overrides, ...changes }
}

/** `type` has other values too, such as `gradio`. */
function modeOfType (type: unknown): unknown {
  return type === 'txt2img' || type === 'img2img' ? type : undefined
}

function fillIn (fields: Record<string, unknown>, name: string, value: unknown): void {
  // A1111's clients send "None" beside the older name
  const isOpen = name === 'sampler_name' ? isUnchosen(fields[name]) : isUnset(fields[name])
  if (isOpen && !isUnset(value)) fields[name] = value
}

function checkpointOf (given: GivenFields, setting: unknown): string | null {
  const field = checkpointNames.find(name => !isUnchosen(given[name]))
  const ofSettings = { field: 'override_settings.sd_model_checkpoint', value: setting }
  const named = field !== undefined ? { field, value: given[field] } : isUnchosen(setting) ? undefined : ofSettings
  const hash = checkpointHashes.map(name => given[name]).find(value => typeof value === 'string' && isHash(value))
  const name = named === undefined ? '' : textOf(named.field, named.value)
  if (name === '') return typeof hash === 'string' ? hash.trim() : null
  return typeof hash === 'string' && !/\[[0-9a-f]+\]$/i.test(name) ? `${name} [${hash.trim()}]` : name
}

function isHash (text: string): boolean {
  return /^\s*[0-9a-f]{8,64}\s*$/i.test(text)
}

function hintsOf (given: GivenFields): Hints {
  const hints: Record<string, string> = {}
  for (const [hint, name] of hintEntries) {
    const value = given[name]
    if (typeof value === 'string' && !isUnchosen(value)) hints[hint] = value.trim()
  }
  return hints
}

function textOf (field: string, value: unknown): string {
  if (typeof value === 'string' && value.length <= 1000) return value.trim()
  throw invalidField(field, name => `${name} must be the name of a checkpoint, of at most 1000 characters.`)
}
