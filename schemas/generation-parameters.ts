import { type Static, type TProperties, type TSchema, Type } from '@sinclair/typebox'
import {
  choice, commonFields, denoisingFields, factsOf, hiresFields, img2imgFields, record, scriptFields, text, whole
} from './a1111-fields.ts'
import { Closed, needing, success } from './kit.ts'

/** A job's parameters once understood: A1111's own names and types, images as base64 or as references. */
export const A1111Parameters = Type.Object({
  ...commonFields, ...scriptFields, ...denoisingFields, ...hiresFields, ...img2imgFields
})
export type A1111Parameters = Static<typeof A1111Parameters>
export type A1111ParameterName = keyof A1111Parameters

/** An image can be named instead: by an output, a job or an address. */
function imageAsSent (field: TSchema): TSchema {
  const { items, type, ...facts } = field
  const one = ['string', 'object', 'null']
  const own = type === 'array'
    ? { type: ['array', ...one], items: { ...items as object, type: one.slice(0, 2) } }
    : { type: one }
  return Type.Optional(Type.Unsafe<unknown>({ ...facts, ...own }))
}

/** The same field as clients send it: numbers and flags may be text, everything may be null. */
function asSent (field: TSchema): TSchema {
  const accepted: Readonly<Record<string, readonly string[]>> = {
    integer: ['integer', 'string', 'boolean', 'null'],
    number: ['number', 'string', 'null'],
    boolean: ['boolean', 'string', 'integer', 'null'],
    string: ['string', 'null'],
    array: ['array', 'string', 'null'],
    object: ['object', 'null']
  }
  const types = accepted[String(field.type)]
  if (factsOf(field).isImage === true) return imageAsSent(field)
  return types === undefined ? field : Type.Optional(Type.Unsafe<unknown>({ ...field, type: types }))
}

const spelling = (of: string) => Type.Optional(Type.Unknown({ description: `Another spelling of \`${of}\`.` }))
const decidedHere = () => Type.Optional(Type.Unknown({ description: 'Accepted and ignored: the service decides it.' }))

const otherSpellings = {
  mode: Type.Optional(Type.Unknown({ description: '`txt2img` or `img2img`; without it img2img when `init_images` are there.', examples: ['txt2img'] })),
  type: Type.Optional(Type.Unknown({ description: '`gradio_raw` or `gradio`: the values are in `raw_payload`. Otherwise as `mode`.', examples: ['gradio_raw'] })),
  raw_payload: record('Values of a Gradio form, in `data`.', { data: ['a lighthouse'] }),
  generation_info_raw: text('Generation parameters as A1111 writes them into a picture; explicit fields override them.', 'a lighthouse\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512'),
  infotext: text('Generation parameters as A1111 writes them; they fill missing fields, except the checkpoint.', 'Steps: 20, Sampler: Euler a'),
  checkpoint_name: choice('Checkpoint: title, file name, path, model name or hash. Empty: the one the server has loaded.', 'sd_xl_base_1.0.safetensors'),
  sd_checkpoint: spelling('checkpoint_name'),
  checkpoint: spelling('checkpoint_name'),
  model_hash: choice('Hash of the checkpoint: 10 hexadecimal digits or the whole SHA-256.', '31e35c80fc'),
  checkpoint_hash: spelling('model_hash'),
  autov2_hash: spelling('model_hash'),
  sha256_hash: spelling('model_hash'),
  positive_prompt: spelling('prompt'),
  num_images: spelling('n_iter'),
  batch_count: spelling('n_iter'),
  enable_hires_fix: spelling('enable_hr'),
  upscaler_model: spelling('hr_upscaler'),
  refiner_model: spelling('refiner_checkpoint'),
  sampler: spelling('sampler_name'),
  sampler_index: spelling('sampler_name'),
  clip_skip: whole('Layers of CLIP left out, counted from the end, plus 1.', [1, 12], 2),
  vae: choice('VAE by name, `Automatic` or `None`.', 'vae-ft-mse-840000-ema-pruned.safetensors'),
  loras: Type.Optional(Type.Unknown({ description: 'LoRAs added to the prompt: names, `{name, weight}` objects, or one object of weights by name.', examples: [[{ name: 'detail', weight: 0.8 }]] })),
  lora: spelling('loras'),
  scheduler_or_quality_preset: choice('Taken as scheduler when the server has one of that name, else ignored.', 'Karras'),
  sampling_category: choice('Taken as sampler when the server has one of that name, else ignored.', 'Euler a'),
  style_preset: choice('Taken as style when the server has one of that name, else ignored.', 'cinematic'),
  send_images: decidedHere(),
  save_images: decidedHere(),
  do_not_save_samples: decidedHere(),
  do_not_save_grid: decidedHere(),
  include_init_images: decidedHere(),
  override_settings_restore_afterwards: decidedHere(),
  force_task_id: decidedHere()
}

/** Fields as clients send them. */
export function fieldsAsSent (fields: TProperties): TProperties {
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, asSent(field)]))
}

/** Parameters of a generation. Unknown fields are accepted and left out with a warning. */
export const GenerationParameters = Type.Object(fieldsAsSent({ ...A1111Parameters.properties, ...otherSpellings }), {
  $id: 'GenerationParameters',
  additionalProperties: true,
  description: 'All parameters of A1111 and Forge for txt2img and img2img, and their other spellings.',
  examples: [{ prompt: 'a lighthouse at dusk', steps: 20, width: 512, height: 512, seed: -1 }]
})
export type GenerationParameters = Readonly<Record<string, unknown>>

/** A note to the client although the job continues. */
export const Warning = Type.Object({
  code: Type.String({ description: 'Stable word for programs.', examples: ['size_rounded'] }),
  message: Type.String({ description: 'The same as a sentence.' }),
  field: Type.Optional(Type.String({ description: 'The field it is about, in dotted form.' }))
}, { $id: 'WarningView', description: 'Something to know.' })
export type Warning = Static<typeof Warning>

export const ParametersToRead = Closed({
  image: Type.Optional(Type.Unsafe<unknown>({
    type: ['string', 'object'],
    description: 'PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP as base64 or data URL; or the name of an output, an https address, ' +
      'or an object with the job_id of a job and the index of its image.',
    examples: ['iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==']
  })),
  text: Type.Optional(Type.String({
    maxLength: 100_000,
    description: 'Generation parameters as A1111 writes them, or the JSON of another program.',
    examples: ['a lighthouse\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512']
  }))
}, {
  ...needing(['image'], ['text']),
  $id: 'ParametersToRead',
  description: 'A picture or a text; one of them.',
  examples: [{ text: 'a lighthouse\nSteps: 20, Sampler: Euler a' }]
})
export type ParametersToRead = Static<typeof ParametersToRead>

export const ReadParameters = Type.Object({
  success,
  text: Type.String({ description: 'The text in A1111\'s form; empty if a picture has no readable one.' }),
  source: Type.Optional(Type.String({
    description: 'Program that wrote it: A1111 (and its kin), ComfyUI, Fooocus, InvokeAI, NovelAI or SwarmUI.', examples: ['A1111']
  })),
  notes: Type.Optional(Type.Array(Type.String(), {
    description: 'What could not be read or has no counterpart here, each in a sentence.'
  })),
  generation_params: Type.Record(Type.String(), Type.Unknown(), {
    description: 'The same as fields of a submission, values as text; empty where there is nothing.'
  })
}, { $id: 'ReadParameters', description: 'What a picture was made from.' })
