import { Type, type Static } from '@sinclair/typebox'
import { Warning } from './generation-parameters.ts'
import { Inline, Nullable, Ref, StringEnum, WithDefaults } from './kit.ts'
import { strict, userId } from './studio-generation.ts'
import { StudioTime } from './studio-session.ts'
import { webhookFields, webhookSigningSecret } from './webhook.ts'

const fields = (description: string, example: Record<string, unknown>) =>
  Type.Record(Type.String(), Type.Unknown(), { description, examples: [example] })
const exampleId = '1cfd52d6-8961-47fc-b387-c195c6568e62'
const batchId = Type.String({ description: 'Id of the batch. `/jobs/{id}` understands it too.', examples: [exampleId] })
const kinds = ['txt2img', 'img2img', 'inpaint', 'outpaint', 'controlnet', 'regional'] as const

/** Seeds go beyond what other numbers need. */
const NumberOrSeed = (description: string) => Type.Unsafe<number | bigint>({ type: 'number', 'x-exact-integers': true, description })

export const SweepAxis = WithDefaults({
  field: Type.String({
    description: 'Field of the request, also inside of others, as in `controlnet_units.0.weight`.',
    maxLength: 200,
    examples: ['cfg_scale']
  }),
  values: Nullable(Type.Array(Type.Unknown(), { maxItems: 200 }), { description: 'Its values.', default: null, examples: [[5, 7, 9]] }),
  range: Nullable(Type.Object({
    start: NumberOrSeed('First value.'),
    stop: NumberOrSeed('Last value, if a step meets it.'),
    step: Type.Number({ description: 'Distance of two values.' })
  }), { description: 'Or its values as numbers in steps.', default: null, examples: [{ start: 5, stop: 9, step: 2 }] }),
  search: Nullable(Type.String({ minLength: 1, maxLength: 1000 }), {
    description: 'With a text field: each value replaces these words in it.', default: null, examples: ['lighthouse']
  })
}, { $id: 'StudioSweepAxis', description: 'A field with several values.' })
export type SweepAxis = Static<typeof SweepAxis>

export const StudioBatchRequest = WithDefaults({
  ...webhookFields,
  user_id: userId,
  strict,
  type: Nullable(StringEnum(kinds), { description: 'Which route the base request is for; found out from its fields without.', default: null, examples: ['txt2img'] }),
  base_request: fields('A generation request. Pictures as base64.', { prompt: 'a lighthouse at dusk', steps: 12 }),
  variations: Type.Array(fields('Fields of one variation.', { seed: 2 }), {
    description: 'Fields that are laid over the base request, one picture or more each.', default: [], maxItems: 200, examples: [[{ seed: 1 }, { seed: 2 }]]
  }),
  axes: Type.Array(Inline(SweepAxis), {
    description: 'Up to three fields with several values; every combination is generated. The first goes across, the ' +
      'second down, the third from block to block.',
    default: [],
    maxItems: 3,
    examples: [[{ field: 'cfg_scale', values: [5, 7, 9] }, { field: 'steps', range: { start: 10, stop: 20, step: 5 } }]]
  }),
  seed_mode: StringEnum(['fixed', 'increment', 'random'], {
    description: 'fixed: all pictures from one seed, so that they can be compared. increment: one more for each. random: each its own.',
    default: 'fixed'
  }),
  batch_name: Nullable(Type.String({ maxLength: 200 }), { description: 'What to call it.', default: null, examples: ['Which CFG?'] })
}, {
  $id: 'StudioBatchRequest',
  description: 'Many pictures that differ in some fields.',
  examples: [{
    user_id: 'discord-1234',
    base_request: { prompt: 'a lighthouse at dusk', steps: 12, width: 256, height: 256 },
    axes: [{ field: 'cfg_scale', values: [5, 9] }]
  }]
})
export type StudioBatchRequest = Static<typeof StudioBatchRequest>

export const StudioBatchAccepted = Type.Object({
  job_id: batchId,
  batch_id: batchId,
  status: Type.Literal('queued', { description: 'Always queued.' }),
  message: Type.String({ description: 'The same as a sentence.', examples: ['Batch of 6 generations queued successfully'] }),
  estimated_time: Nullable(Type.Integer({ description: 'Seconds until it is done, if known.' })),
  total: Type.Integer({ description: 'How many generations.' }),
  job_ids: Type.Array(Type.String(), { description: 'Their ids.' }),
  warnings: Type.Array(Ref(Warning), { description: 'What was understood otherwise than it was said.' }),
  webhook_signing_secret: webhookSigningSecret
}, { $id: 'StudioBatchAccepted', description: 'All of them wait in the queue.' })

export const StudioBatch = Type.Object({
  batch_id: batchId,
  batch_name: Nullable(Type.String({ description: 'What it is called.' })),
  status: StringEnum(['queued', 'processing', 'completed', 'failed'], { description: 'completed once all have finished and one is completed.' }),
  progress: Type.Number({ description: '0 to 1, of all together.', minimum: 0, maximum: 1 }),
  estimated_time: Nullable(Type.Integer({ description: 'Seconds until all of it is done, if known.' })),
  message: Type.String({ description: 'Where it is.', examples: ['3 of 6 done'] }),
  created_at: StudioTime('When it was submitted.'),
  completed_at: Nullable(StudioTime('When the last one finished.')),
  total: Type.Integer({ description: 'How many generations.' }),
  completed: Type.Integer({ description: 'How many of them are completed.' }),
  failed: Type.Integer({ description: 'How many of them failed or were cancelled.' }),
  axes: Type.Array(Type.Object({
    field: Type.String({ description: 'The field.' }),
    values: Type.Array(Type.String(), { description: 'Its values as texts.' })
  }), { description: 'Fields with several values.' }),
  jobs: Type.Array(Type.Object({
    job_id: Type.String({ description: 'Id of the job.' }),
    label: Type.String({ description: 'What it differs in.', examples: ['cfg_scale: 5'] }),
    status: StringEnum(['queued', 'processing', 'completed', 'failed'], { description: 'Where it is.' }),
    progress: Type.Number({ description: '0 to 1.' }),
    message: Type.String({ description: 'Where it is, or why it failed.' }),
    image_urls: Type.Array(Type.String(), { description: 'Addresses of the finished images on this service.' })
  }), { description: 'In the order of the grid.' }),
  grid_url: Type.String({ description: 'A picture with the first image of each, labelled; what is not there yet is left grey.' })
}, { $id: 'StudioBatch', description: 'A batch as it is now.' })
export type StudioBatch = Static<typeof StudioBatch>
