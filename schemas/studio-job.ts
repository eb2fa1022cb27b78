import { Type, type Static } from '@sinclair/typebox'
import { Warning } from './generation-parameters.ts'
import { Nullable, Ref, SeedNumber, seedText, StringEnum } from './kit.ts'
import { StudioTime } from './studio-session.ts'
import { webhookSigningSecret } from './webhook.ts'

const exampleId = '1cfd52d6-8961-47fc-b387-c195c6568e62'
const jobId = Type.String({ description: 'Id of the job.', examples: [exampleId] })

export const StudioAccepted = Type.Object({
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
export type StudioAccepted = Static<typeof StudioAccepted>

const states = ['queued', 'processing', 'completed', 'failed'] as const

export const StudioJob = Type.Object({
  job_id: jobId,
  status: StringEnum(states, { description: 'A cancelled job has failed; its message is `cancelled`.' }),
  progress: Type.Number({ description: '0 to 1; never null.', minimum: 0, maximum: 1, examples: [0.45] }),
  eta_relative: Nullable(Type.Number({ description: 'Remaining seconds of the running generation.' })),
  estimated_time: Nullable(Type.Integer({
    description: 'Seconds until it is done, including the wait in the queue, if known.'
  })),
  message: Type.String({ description: 'Where it is, or why it failed.', examples: ['Step 9 of 20'] }),
  created_at: StudioTime('When it was submitted.'),
  completed_at: Nullable(StudioTime('When it finished.')),
  position: Nullable(Type.Integer({ description: 'Position in the queue, from 1, while it waits.' })),
  user_id: Nullable(Type.String({ description: 'Whose it is.' })),
  type: Nullable(Type.String({ description: 'What made it, such as txt2img.' })),
  prompt: Type.String({ description: 'Kind of generation.' }),
  image_urls: Type.Array(Type.String(), { description: 'Addresses of the finished images on this service.' })
}, { $id: 'StudioJob', description: 'A job as it is now.' })
export type StudioJob = Static<typeof StudioJob>

export const StudioResult = Type.Object({
  job_id: jobId,
  status: StringEnum(['completed', 'failed'], { description: 'Final state.' }),
  images: Type.Array(Type.String(), { description: 'The images as base64; addresses with `format=url`.' }),
  extra_images: Type.Array(Type.String(), { description: 'ControlNet maps and contact sheets of the generation.' }),
  info: Type.Record(Type.String(), Type.Unknown(), { description: 'What the server says of the images: seeds, texts.' }),
  parameters: Type.Record(Type.String(), Type.Unknown(), { description: 'The request, in A1111\'s names, without pictures.' }),
  error: Nullable(Type.String({ description: 'Why it failed.' })),
  warnings: Type.Array(Ref(Warning), { description: 'Differences between result and request.' })
}, { $id: 'StudioResult', description: 'What a job made.' })
export type StudioResult = Static<typeof StudioResult>

export const StudioJobParameters = Type.Object({
  job_id: Type.String({ description: 'Id of the job.', examples: [exampleId] })
})

export const StudioResultQuery = Type.Object({
  format: Type.Optional(StringEnum(['base64', 'url'], { description: 'Form of the images.', default: 'base64' }))
})

export const StudioHistoryQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ description: 'How many jobs.', default: 50, minimum: 1, maximum: 200 })),
  offset: Type.Optional(Type.Integer({ description: 'How many are passed over.', default: 0, minimum: 0, maximum: 1_000_000 }))
})

export const StudioHistory = Type.Object({
  jobs: Type.Array(Ref(StudioJob), { description: 'Newest first.' }),
  total: Type.Integer({ description: 'How many there are in all.' })
}, { $id: 'StudioHistory', description: 'Jobs of a user.' })

export const StudioDone = Type.Object({
  message: Type.String({ description: 'What was done.', examples: ['Job cancelled'] }),
  job: Ref(StudioJob)
}, { $id: 'StudioDone', description: 'What was done, and the job as it is now.' })

/** How these routes say that something went wrong. */
export const StudioError = Type.Object({
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
export function studioErrors (...statuses: Array<keyof typeof meanings>) {
  const all = [...new Set([...statuses, 400, 401, 403, 422, 429, 500, 503] as const)]
  return Object.fromEntries(all.map(status => [status, { ...Ref(StudioError), description: meanings[status] }]))
}
