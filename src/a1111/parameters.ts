import { img2imgFields, namesOf } from '../../schemas/a1111-fields.ts'
import { A1111Parameters, type Warning } from '../../schemas/generation-parameters.ts'
import { ServiceError } from '../lib/errors.ts'
import { isUploadedImage } from '../lib/media-types.ts'
import {
  fieldsOf, fieldsOfInfotext, type GivenFields, type Hints, rawInfotext, type TranslatedFields, translateFields,
  understood
} from './aliases.ts'
import {
  definedOnly, type FieldRules, invalidField, isRecord, isUnchosen, isUnset, picked, readValue, warningOfRange,
  without, withoutBounds
} from './field-values.ts'
import { refuseImageAddresses } from './images.ts'
import { filledInImg2img, fittingOutput, fittingValues } from './infotext-parameters.ts'
import {
  defaults, refuseHugeOutput, refuseImpossible, withHires, withMatchingBatch, withRealSize, withSeeds
} from './limits.ts'
import { loraNames, readLoras, withLoras } from './lora-tags.ts'
import { readOverrideSettings } from './override-settings.ts'
import type { GenerationMode } from './types.ts'
import { describeUnknownField, parameterSynonyms, type UnknownField, unknownFieldsError } from './unknown-fields.ts'

type Parameters = Readonly<Record<string, unknown>>

/** Scripts that run the client's text as a program on the server. */
const deniedScripts = new Set(['custom code'])
const scriptFields = ['script_name', 'script_args', 'alwayson_scripts']
/** Arguments of ControlNet units that make the server read folders of its disk. */
const folderArguments = ['batch_image_dir', 'batch_mask_dir']

/**
 * The parameters with their scripts in A1111's shape: arguments only with a script, always-on scripts without arguments
 * only by name: A1111 ignores them, but refuses those that it does not have.
 * @throws ServiceError `unsupported_parameter` for scripts that reach beyond the image, `invalid_field_value`
 */
function checkScripts (
  parameters: Record<string, unknown>, warn: (warning: Warning) => void
): Record<string, unknown> {
  if (scriptFields.every(name => parameters[name] === undefined)) return parameters
  const { script_name: name, script_args: args, alwayson_scripts: always, ...others } = parameters
  if (typeof name === 'string') refuseScript(name, 'script_name')
  const scripts = isRecord(always) ? alwaysOn(always, warn) : {}
  return {
    ...others,
    ...(name === undefined ? {} : definedOnly({ script_name: name, script_args: args ?? [] })),
    ...(Object.keys(scripts).length === 0 ? {} : { alwayson_scripts: scripts })
  }
}

function alwaysOn (given: Parameters, warn: (warning: Warning) => void): Record<string, unknown> {
  const scripts: Record<string, unknown> = {}
  for (const [title, script] of Object.entries(given)) {
    const field = `alwayson_scripts.${title}`
    refuseScript(title, field)
    if (!isUnset(script) && !isRecord(script)) {
      throw invalidField(field, name => `${name} must be an object with a list of args.`)
    }
    if (!isRecord(script) || isUnset(script.args)) {
      warn({ code: 'script_without_arguments_ignored', message: `The script ${title} has no args, so a server ignores it.`, field })
      scripts[title] = {}
      continue
    }
    if (!Array.isArray(script.args)) throw invalidField(`${field}.args`, name => `${name} must be a list.`)
    script.args.forEach((argument: unknown, index) => refuseFolders(argument, `${field}.args.${index}`))
    scripts[title] = { args: script.args as unknown[] }
  }
  return scripts
}

function refuseScript (title: string, field: string): void {
  if (!deniedScripts.has(title.trim().toLowerCase())) return
  throw new ServiceError('unsupported_parameter',
    `The script "${title}" runs programs on the server and cannot be used by a job.`, { field })
}

function refuseFolders (argument: unknown, field: string): void {
  if (!isRecord(argument)) return
  const name = folderArguments.find(name => !isUnset(argument[name]))
  if (name === undefined) return
  throw new ServiceError('unsupported_parameter',
    `${name} makes the server read a folder of its disk; send the image itself.`, { field: `${field}.${name}` })
}

export interface NormalisingOptions {
  /** `fieldRules(A1111Parameters)`. */
  readonly rules: FieldRules
  /** A whole number from 0 to below its argument, such as `crypto.randomInt`. */
  readonly random: (below: number) => number
  /** Pixels that all images of the job may have together: PIXELS_PER_JOB_MEGAPIXELS. */
  readonly maximumPixels: number
  /** Images that the job can make: OUTPUTS_PER_JOB; unlimited if omitted. */
  readonly maximumImages?: number
  /** Set if the route decides it, like `/sdapi/v1/img2img`. */
  readonly mode?: GenerationMode
  /** What to do with unknown fields; `warn` by default. */
  readonly unknown?: 'warn' | 'refuse'
  /**
   * Where values that no server is known to support are checked, such as 0 steps or more init images than the batch
   * size: here at submission, by default, or at the server, whose clients know its errors. Protective limits hold for
   * both.
   */
  readonly judge?: 'here' | 'server'
}

/** A job's parameters in A1111's own names and types. */
export interface NormalisedParameters {
  readonly mode: GenerationMode
  /** Complete: defaults filled in, seeds chosen, images still base64, names as the client wrote them. */
  readonly parameters: A1111Parameters
  /** As the client named it; null if the client left the choice to the server. */
  readonly checkpoint: string | null
  readonly hints: Hints
  readonly warnings: readonly Warning[]
  /** Fields that were filled in because the client named none. */
  readonly unnamed?: readonly string[]
}

/** Fields that choose something by name, for which A1111's menus have words for "nothing". */
const choices = new Set<string>(namesOf(A1111Parameters.properties, ({ isChoice }) => isChoice === true))
/** Words for nothing that have a meaning there: an upscaler, and another scheduler than that of the first pass. */
const meant: Readonly<Record<string, RegExp>> = { hr_upscaler: /^none$/i, hr_scheduler: /^automatic$/i }
/** Each is looked up at every server that can run the job. */
const maxLoras = 64
/** In characters. */
const shortestLora = '<lora:a>'.length
const img2imgImages = new Set<string>(namesOf(img2imgFields, ({ isImage }) => isImage === true))
const defaultNames = Object.keys(defaults)

/**
 * Converts any client's request into A1111's form. Finds values that A1111 would answer with a 500 or treat differently
 * than requested.
 * @throws ServiceError `invalid_field_value`, `missing_required_field` or `unsupported_parameter`, naming the field
 */
export function normaliseParameters (given: unknown, options: NormalisingOptions): NormalisedParameters {
  const warnings: Warning[] = []
  const warn = (warning: Warning) => { warnings.push(warning) }
  const translated = withInfotexts(fieldsOf(given), options, warn)
  const { read, unnamed } = readFields(translated, options, warn)
  refuseImageAddresses(read)
  const { judge, maximumPixels, maximumImages = Infinity } = options
  const mode = modeOf(options.mode ?? translated.mode, read, judge, warn)
  if (mode === 'img2img') refuseEmptyImages(read)
  const complete = withHires(forMode(read, mode), mode, warn)
  const seeded = withSeeds(withMatchingBatch(withRealSize(complete, judge, warn), warn), options.random)
  const parameters = fittingOutput(seeded, { fromText: translated.fromText, maximumPixels, warn })
  if (judge !== 'server') refuseImpossible(parameters)
  refuseHugeOutput(parameters, { pixels: maximumPixels, images: maximumImages })
  return { mode, parameters, checkpoint: translated.checkpoint, hints: translated.hints, warnings, unnamed }
}

interface InfotextFields extends TranslatedFields {
  /** Names of the parameters that only a text gave. */
  readonly fromText: ReadonlySet<string>
}

/**
 * Fills missing fields from `generation_info_raw`, and from A1111's own `infotext`, which by its rule never chooses the
 * checkpoint.
 */
function withInfotexts (
  given: GivenFields, { rules, judge = 'here' }: NormalisingOptions, warn: (warning: Warning) => void
): InfotextFields {
  const explicit = translateFields(given)
  const raw = rawInfotext(given)
  if (isUnset(raw) && isUnset(explicit.infotext)) return { ...explicit, fromText: noFields }
  const sources = [['generation_info_raw', raw], ['infotext', explicit.infotext]] as const
  const texts = sources.filter(([, text]) => !isUnset(text)).map(([field, text]) => {
    const { fields, notes } = fieldsOfInfotext(field, text)
    for (const message of notes) warn({ code: 'infotext_partly_read', message, field })
    const isOfDropIn = field === 'infotext' && judge === 'server' && given.mode === 'img2img'
    const read = translateFields(withoutLongNames(isOfDropIn ? picked(fields, filledInImg2img) : fields))
    return { field, checkpoint: read.checkpoint, fields: fittingValues(read.fields, { field, rules, judge, warn }) }
  })
  if (texts.some(({ field }) => field === 'generation_info_raw') && !isUnset(given.raw_payload)) {
    warn({
      code: 'raw_payload_ignored',
      message: 'generation_info_raw says what to generate, so raw_payload is left out.',
      field: 'raw_payload'
    })
  }
  const all = [...texts.toReversed().map(({ fields }) => fields), explicit.fields]
  const overrides = all.map(({ override_settings: settings }) => isRecord(settings) ? settings : {})
  const { override_settings: own } = explicit.fields
  const isMergeable = isUnset(own) || isRecord(own)
  const named = texts.find(({ field }) => field === 'generation_info_raw')?.checkpoint ?? null
  return {
    ...explicit,
    checkpoint: explicit.checkpoint ?? named,
    fields: {
      ...Object.assign({}, ...all) as Record<string, unknown>,
      // values that are not records are refused later
      ...(isMergeable ? { override_settings: Object.assign({}, ...overrides) as unknown } : {})
    },
    fromText: new Set(texts.flatMap(({ fields }) => Object.keys(fields)).filter(name => !(name in explicit.fields)))
  }
}

const noFields: ReadonlySet<string> = new Set()

/** The name of a checkpoint is checked before all other fields. */
function withoutLongNames ({ checkpoint_name: name, ...fields }: GivenFields): GivenFields {
  return typeof name === 'string' && name.length <= 1000 ? { ...fields, checkpoint_name: name } : fields
}

interface ReadFields {
  /** With the defaults of fields that the client did not name. */
  readonly read: A1111Parameters
  /** Names of those. */
  readonly unnamed: readonly string[]
}

/** Writes each value to its place in one object: a copy at each step cost more than reading the values. */
function readFields (
  { fields, loras, fromText }: InfotextFields, { rules, unknown = 'warn', judge = 'here' }: NormalisingOptions,
  warn: (warning: Warning) => void
): ReadFields {
  const given: Record<string, unknown> = { ...defaults }
  const unnamed = new Set<string>(defaultNames)
  const unknownNames: string[] = []
  for (const name of Object.keys(fields)) {
    if (name === 'override_settings') continue
    const value = fields[name]
    const rule = rules.get(name)
    if (rule === undefined && !understood.has(name)) unknownNames.push(name)
    if (rule === undefined || isNothing(name, value)) continue
    const known = readValue(name, value, judge === 'server' ? withoutBounds(rule) : rule)
    const warning = fromText.has(name) ? null : warningOfRange(name, known, rule)
    if (warning !== null) warn(warning)
    given[name] = known
    unnamed.delete(name)
  }
  const [first, ...others] = describeUnknown(unknownNames, rules)
  if (first !== undefined && unknown === 'refuse') throw unknownFieldsError([first, ...others])
  if (first !== undefined) warn(unknownWarning([first, ...others]))
  const overrides = readOverrideSettings(fields.override_settings, judge, warn)
  const listed = [...loras].flatMap(([field, list]) => readLoras(field, list))
  const prompt = withLoras(String(given.prompt), listed)
  if (prompt !== '') unnamed.delete('prompt')
  refuseManyLoras('prompt', prompt)
  refuseManyLoras('hr_prompt', String(given.hr_prompt ?? ''))
  const read = checkScripts(given, warn)
  read.prompt = prompt
  if (Array.isArray(read.styles)) read.styles = readStyles(read.styles, judge)
  checkTexts('init_images', read.init_images)
  if (Object.keys(overrides).length > 0) read.override_settings = overrides
  return { read: read as A1111Parameters, unnamed: [...unnamed] }
}

/** Whether a field means nothing, by the words of A1111's own menus. */
function isNothing (name: string, value: unknown): boolean {
  if (isUnset(value) || !choices.has(name)) return isUnset(value)
  return isUnchosen(value) && meant[name]?.test(String(value).trim()) !== true
}

/** Clients that use A1111's words get its answer with them, if they change nothing. */
function readStyles (styles: readonly unknown[], judge: 'here' | 'server'): unknown[] {
  const kept = styles.filter(style => judge === 'server' ? style !== null : !isUnchosen(style))
  checkTexts('styles', kept)
  return kept
}

function refuseManyLoras (field: string, prompt: string): void {
  if (prompt.length <= maxLoras * shortestLora || loraNames(prompt).length <= maxLoras) return
  throw invalidField(field, name => `${name} names more than ${maxLoras} LoRAs.`)
}

function describeUnknown (names: readonly string[], rules: FieldRules): UnknownField[] {
  return names.slice(0, 20).map(name =>
    describeUnknownField(name, [...rules.keys(), ...understood], '', parameterSynonyms))
}

function unknownWarning (unknown: readonly UnknownField[]): Warning {
  const names = unknown.map(({ field, nearest: [meant] }) =>
    meant === undefined ? field.slice(0, 60) : `${field.slice(0, 60)} (did you mean ${meant}?)`)
  return {
    code: 'unknown_parameters_ignored',
    message: `These fields mean nothing to an A1111 server and were left out: ${names.join(', ')}.`
  }
}

function checkTexts (field: string, list: unknown): void {
  if (!Array.isArray(list)) return
  const wrong = list.findIndex(item => typeof item !== 'string' && !isUploadedImage(item))
  if (wrong !== -1) throw invalidField(`${field}.${wrong}`, name => `${name} must be text.`)
}

/** A server fails at values that are not images. */
function refuseEmptyImages ({ init_images: images = [] }: A1111Parameters): void {
  const empty = images.findIndex(image => typeof image === 'string' && image.trim() === '')
  if (empty === -1) return
  const field = `init_images.${empty}`
  throw new ServiceError('invalid_image', name => `${name} is empty; send an image as base64.`, { field })
}

function modeOf (
  asked: unknown, parameters: A1111Parameters, judge: NormalisingOptions['judge'], warn: (warning: Warning) => void
): GenerationMode {
  const hasImages = (parameters.init_images ?? []).length > 0
  if (!isUnset(asked) && asked !== 'txt2img' && asked !== 'img2img') {
    throw invalidField('mode', name => `${name} must be txt2img or img2img.`)
  }
  if (asked === 'txt2img') {
    if (hasImages) warn({ code: 'init_images_ignored', message: 'txt2img starts from no image, so init_images is left out.', field: 'init_images' })
    return 'txt2img'
  }
  if (hasImages || (asked === 'img2img' && judge === 'server')) return 'img2img'
  if (asked === 'img2img') {
    throw new ServiceError('missing_required_field', 'img2img needs at least one image in init_images.', { field: 'init_images' })
  }
  if (parameters.mask !== undefined) throw invalidField('mask', 'A mask needs the image that it covers, in init_images.')
  return 'txt2img'
}

function forMode (parameters: A1111Parameters, mode: GenerationMode): A1111Parameters {
  if (mode === 'img2img') return parameters
  return without<unknown>(parameters, name => img2imgImages.has(name))
}
