import { invalidField, isRecord, isUnset } from './field-values.ts'
import { largestSeed, readInteger, type Seed } from './seeds.ts'
import { readForeignText } from './foreign/read-texts.ts'
import { parseInfotext } from './infotext.ts'
import { toParameters } from './infotext-parameters.ts'

/** Values before normalising: any client's names and types. */
export type GivenFields = Readonly<Record<string, unknown>>

/**
 * The fields of a body in any of the shapes that clients send: a plain object, or the values of a Gradio form.
 * @throws ServiceError `invalid_field_value` when it is none of them
 */
export function fieldsOf (given: unknown): GivenFields {
  if (!isRecord(given)) throw invalidField('generation_params', 'generation_params must be an object of generation parameters.')
  // a form beside an infotext is what that was made from
  if (!isUnset(rawInfotext(given))) return given
  if ('prompt' in given || 'positive_prompt' in given) return given
  if (given.type === 'gradio_raw') return fieldsOfGradioForm(given.raw_payload)
  if (given.type === 'gradio' && isRecord(given.raw_payload)) return given.raw_payload
  return given
}

/** The infotext that says what to generate, where a client sent one. */
export function rawInfotext (given: GivenFields): unknown {
  return isUnset(given.generation_info_raw) ? given.raw_generation_info : given.generation_info_raw
}

/** Longest infotext that is read, in characters; A1111's own rarely pass 5,000. */
const longestInfotext = 100_000

export interface InfotextFields {
  readonly fields: GivenFields
  /** What of the text has no counterpart here, each in a sentence. */
  readonly notes: readonly string[]
}

/**
 * The fields that an infotext, or what another program writes instead, stands for.
 * @throws ServiceError `invalid_field_value`
 */
export function fieldsOfInfotext (field: string, text: unknown): InfotextFields {
  if (typeof text !== 'string' || text.length > longestInfotext) {
    throw invalidField(field, `${field} must be text of at most ${longestInfotext} characters.`)
  }
  const { infotext, notes } = readForeignText(text) ?? { infotext: parseInfotext(text), notes: [] }
  if (infotext === null) throw invalidField(field, `${field} must be generation parameters as text. ${notes.join(' ')}`)
  return { fields: toParameters(infotext), notes }
}

/**
 * Where the Forge extension's first version found things in the values of Forge's txt2img tab. The tab has changed
 * with every version since, so a value that cannot be what its place says is left out.
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
