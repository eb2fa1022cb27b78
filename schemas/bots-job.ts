import { type Static, Type } from '@sinclair/typebox'
import { strict, userId } from './bots-generation.ts'
import { BotTime } from './bots-settings.ts'
import { Warning } from './generation-parameters.ts'
import { Inline, Nullable, Ref, SeedNumber, seedText, StringEnum, WithDefaults } from './kit.ts'
import { webhookFields, webhookSigningSecret } from './webhook.ts'

const exampleId = '1cfd52d6-8961-47fc-b387-c195c6568e62'
const jobId = Type.String({ description: 'Id of the job.', examples: [exampleId] })

export const BotAccepted = Type.Object({
  job_id: jobId,
  status: Type.Literal('queued', { description: 'Always queued.' }),
  message: Type.String({ description: 'The same as a sentence.', examples: ['Generation queued successfully'] }),
  estimated_time: Nullable(Type.Integer({ description: 'Seconds until it is done, if known.' })),
  position: Type.Integer({ description: 'Position in the queue, from 1.', examples: [1] }),
  seed: Nullable(SeedNumber('The seed, also if the request had none.')),
  ...seedText,
  warnings: Type.Array(Ref(Warning), { description: 'What was understood otherwise than it was said.' }),
  webhook_signing_secret: webhookSigningSecret
}, { $id: 'StudioAccepted', description: 'The job waits in the queue.' })
export type BotAccepted = Static<typeof BotAccepted>

const states = ['queued', 'processing', 'completed', 'failed'] as const

export const BotJob = Type.Object({
  job_id: jobId,
  status: StringEnum(states, { description: 'A cancelled job has failed; its message is `cancelled`.' }),
  progress: Type.Number({ description: '0 to 1; never null.', minimum: 0, maximum: 1, examples: [0.45] }),
  eta_relative: Nullable(Type.Number({ description: 'Remaining seconds of the running generation.' })),
  estimated_time: Nullable(Type.Integer({
    description: 'Seconds until it is done, including the wait in the queue, if known.'
  })),
  message: Type.String({ description: 'Where it is, or why it failed.', examples: ['Step 9 of 20'] }),
  created_at: BotTime('When it was submitted.'),
  completed_at: Nullable(BotTime('When it finished.')),
  position: Nullable(Type.Integer({ description: 'Position in the queue, from 1, while it waits.' })),
  user_id: Nullable(Type.String({ description: 'Whose it is.' })),
  type: Nullable(Type.String({ description: 'What made it, such as txt2img.' })),
  prompt: Type.String({ description: 'Kind of generation.' }),
  image_urls: Type.Array(Type.String(), { description: 'Addresses of the finished images on this service.' })
}, { $id: 'StudioJob', description: 'A job as it is now.' })
export type BotJob = Static<typeof BotJob>

export const BotResult = Type.Object({
  job_id: jobId,
  status: StringEnum(['completed', 'failed'], { description: 'Final state.' }),
  images: Type.Array(Type.String(), { description: 'The images as base64; addresses with `format=url`.' }),
  extra_images: Type.Array(Type.String(), { description: 'ControlNet maps and contact sheets of the generation.' }),
  info: Type.Record(Type.String(), Type.Unknown(), { description: 'What the server says of the images: seeds, texts.' }),
  parameters: Type.Record(Type.String(), Type.Unknown(), { description: 'The request, in A1111\'s names, without pictures.' }),
  error: Nullable(Type.String({ description: 'Why it failed.' })),
  warnings: Type.Array(Ref(Warning), { description: 'Differences between result and request.' })
}, { $id: 'StudioResult', description: 'What a job made.' })
export type BotResult = Static<typeof BotResult>

export const BotJobParameters = Type.Object({
  job_id: Type.String({ description: 'Id of the job.', examples: [exampleId] })
})

export const BotResultQuery = Type.Object({
  format: Type.Optional(StringEnum(['base64', 'url'], { description: 'Form of the images.', default: 'base64' }))
})

export const BotHistoryQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ description: 'How many jobs.', default: 50, minimum: 1, maximum: 200 })),
  offset: Type.Optional(Type.Integer({ description: 'How many are passed over.', default: 0, minimum: 0, maximum: 1_000_000 }))
})

export const BotHistory = Type.Object({
  jobs: Type.Array(Ref(BotJob), { description: 'Newest first.' }),
  total: Type.Integer({ description: 'How many there are in all.' })
}, { $id: 'StudioHistory', description: 'Jobs of a user.' })

export const BotDone = Type.Object({
  message: Type.String({ description: 'What was done.', examples: ['Job cancelled'] }),
  job: Ref(BotJob)
}, { $id: 'StudioDone', description: 'What was done, and the job as it is now.' })

/** How these routes say that something went wrong. */
export const BotError = Type.Object({
  detail: Type.Unsafe<string | unknown[]>({
    description: 'A sentence; or, with 422, a list of what is wrong where.',
    anyOf: [
      { type: 'string', examples: ['Job not found'] },
      {
        type: 'array',
        items: {
          type: 'object',
          required: ['type', 'loc', 'msg'],
          properties: {
            type: { type: 'string', description: 'Stable word for programs.', examples: ['missing'] },
            loc: { type: 'array', items: {}, description: 'Where: `body`, then the field.', examples: [['body', 'prompt']] },
            msg: { type: 'string', description: 'What is wrong, or what would be right.', examples: ['Field required'] },
            input: { description: 'The actual value.' },
            ctx: { type: 'object', additionalProperties: true, description: 'Limits, or the nearest names.' }
          }
        }
      }
    ]
  })
}, { $id: 'StudioError', description: 'An error.' })

const meanings = {
  400: 'The request cannot be read.',
  401: 'Credentials are missing or wrong.',
  403: 'The credentials do not reach this far.',
  404: 'There is no such thing, or it is not yours.',
  413: 'Too large.',
  415: 'Not a content type that is understood here.',
  421: 'Not a name of this service.',
  422: 'A field is missing or wrong, or names what no server has.',
  429: 'Too many requests, or too many unfinished generations of the user.',
  500: 'Our own fault.',
  502: 'The Stable Diffusion server does not answer.',
  503: 'Not possible just now; try again.'
} as const

/** Response schemas of a route's errors: those named, and those that every route can give. */
export function botErrors (...statuses: Array<keyof typeof meanings>) {
  const all = [...new Set([...statuses, 400, 401, 403, 422, 429, 500, 503] as const)]
  return Object.fromEntries(all.map(status => [status, { ...Ref(BotError), description: meanings[status] }]))
}

const waiting = (where: string) => Type.Integer({ description: `Waiting jobs ${where}.`, minimum: 0, examples: [4] })
const running = (where: string) => Type.Integer({ description: `Running jobs ${where}.`, minimum: 0, examples: [1] })
const wait = (of: string) => Nullable(Type.Integer({ description: `Seconds until ${of}, if known.`, examples: [38] }))

export const BotQueue = Type.Object({
  position: Type.Integer({ description: 'Best queue position for the next job, from 1.', minimum: 1, examples: [3] }),
  total_jobs: Type.Integer({ description: 'Waiting and running jobs of all users.', minimum: 0, examples: [5] }),
  waiting: waiting('at all servers'),
  running: running('at all servers'),
  estimated_wait_time: wait('the next job would begin at best'),
  servers: Type.Array(Type.Object({
    alias: Type.String({ description: 'The server.', examples: ['Main'] }),
    waiting: waiting('at it'),
    running: running('at it'),
    estimated_wait_time: wait('it has done all of that')
  }), { description: 'Every enabled server.' })
}, { $id: 'StudioQueue', description: 'How much there is to do before the next job.' })
export type BotQueue = Static<typeof BotQueue>

const names = (description: string, example: string) =>
  Type.Array(Type.String(), { description, examples: [[example]] })

export const BotModels = Type.Object({
  checkpoints: names('Checkpoints by model name.', 'dreamscape-v8'),
  vaes: names('VAEs.', 'Automatic'),
  samplers: names('Samplers.', 'DPM++ 2M'),
  upscalers: names('Upscalers.', 'R-ESRGAN 4x+'),
  schedulers: names('Noise schedules.', 'Karras'),
  loras: names('LoRAs.', 'film-grain'),
  controlnet_models: names('ControlNet models.', 'control_v11p_sd15_canny [d14c016b]'),
  controlnet_modules: names('ControlNet preprocessors.', 'canny'),
  scripts: names('Scripts of extensions.', 'controlnet')
}, { $id: 'StudioModels', description: 'What all servers together have.' })

const fields = (description: string, example: Record<string, unknown>) =>
  Type.Record(Type.String(), Type.Unknown(), { description, examples: [example] })
const batchId = Type.String({ description: 'Id of the batch. `/jobs/{id}` understands it too.', examples: [exampleId] })
const kinds = ['txt2img', 'img2img', 'inpaint', 'outpaint', 'controlnet', 'regional'] as const

/** Seeds go beyond what other numbers need. */
const NumberOrSeed = (description: string) => Type.Unsafe<number | bigint>({ type: 'number', 'x-exact-integers': true, description })

export const GridAxis = WithDefaults({
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
export type GridAxis = Static<typeof GridAxis>

export const BotBatchRequest = WithDefaults({
  ...webhookFields,
  user_id: userId,
  strict,
  type: Nullable(StringEnum(kinds), { description: 'Which route the base request is for; found out from its fields without.', default: null, examples: ['txt2img'] }),
  base_request: fields('A generation request. Pictures as base64.', { prompt: 'a lighthouse at dusk', steps: 12 }),
  variations: Type.Array(fields('Fields of one variation.', { seed: 2 }), {
    description: 'Fields that are laid over the base request, one picture or more each.', default: [], maxItems: 200, examples: [[{ seed: 1 }, { seed: 2 }]]
  }),
  axes: Type.Array(Inline(GridAxis), {
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
export type BotBatchRequest = Static<typeof BotBatchRequest>

export const BotBatchAccepted = Type.Object({
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

export const BotBatch = Type.Object({
  batch_id: batchId,
  batch_name: Nullable(Type.String({ description: 'What it is called.' })),
  status: StringEnum(['queued', 'processing', 'completed', 'failed'], { description: 'completed once all have finished and one is completed.' }),
  progress: Type.Number({ description: '0 to 1, of all together.', minimum: 0, maximum: 1 }),
  estimated_time: Nullable(Type.Integer({ description: 'Seconds until all of it is done, if known.' })),
  message: Type.String({ description: 'Where it is.', examples: ['3 of 6 done'] }),
  created_at: BotTime('When it was submitted.'),
  completed_at: Nullable(BotTime('When the last one finished.')),
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
export type BotBatch = Static<typeof BotBatch>
