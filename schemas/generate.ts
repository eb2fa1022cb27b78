import { Type, type Static } from '@sinclair/typebox'
import { GenerationParameters, Warning } from './generation-parameters.ts'
import { needing, Nullable, Ref, SeedNumber, seedText, StringEnum, success, Timestamp } from './kit.ts'
import { webhookFields, webhookSigningSecret } from './webhook.ts'

const target = Type.String({
  maxLength: 64,
  description: 'Server for the job. `auto`, `default` or empty: the first one that is free and has what the job needs.',
  examples: ['auto']
})

const requestFields = {
  target_server_alias: Type.Optional(Nullable(target)),
  generation_params: Type.Optional(Type.Union([Ref(GenerationParameters), Type.Null()], {
    description: 'Parameters of the generation; they can also stand beside the other fields.'
  })),
  generation_info_raw: Type.Optional(Nullable(Type.String({ maxLength: 200_000 }), {
    description: 'Instead of generation_params, or beside it for what that leaves open: the parameters text that A1111 writes into ' +
      'its pictures.'
  })),
  app_type: Type.Optional(Type.String({
    maxLength: 64, default: 'forge', description: 'Application of the job; stored unchanged.'
  })),
  source_info: Type.Optional(Type.String({
    maxLength: 200, default: 'extension', description: 'Source of the job; stored unchanged.'
  })),
  priority: Type.Optional(Type.Integer({
    minimum: 1,
    maximum: 10,
    default: 5,
    description: 'A weight: 10 gets twice as many turns as 5, and 1 a quarter; jobs of equal priority run in order of arrival.'
  })),
  background: Type.Optional(Type.Boolean({
    description: 'true: the job always yields: it begins only when no job that is not in the background waits for the server. ' +
      'Without it, as the access key says; otherwise false.',
    examples: [true]
  })),
  on_difference: Type.Optional(StringEnum(['warn', 'fail'], {
    default: 'warn',
    description: 'If the server used another model, sampler or seed, or made fewer images: warn, or fail.'
  })),
  on_missing: Type.Optional(StringEnum(['refuse', 'ignore'], {
    default: 'refuse',
    description: 'If the server lacks something named: reject the job, or drop the choice with a warning.'
  })),
  output_format: Type.Optional(Nullable(StringEnum(['png', 'jpeg', 'jpg', 'webp', 'avif']), {
    description: 'Format in which its images are stored and delivered, with their parameters inside; without it, that of the server.',
    examples: ['webp']
  })),
  output_quality: Type.Optional(Nullable(Type.Integer({ minimum: 1, maximum: 100 }), {
    description: 'With output_format jpeg, webp or avif: 1 to 100, in steps of 5. Usually 85, 80 and 50.',
    examples: [80]
  })),
  strict: Type.Optional(Type.Boolean({
    default: false,
    description: 'true: reject unknown fields, here and in generation_params, instead of warning about them.'
  })),
  dry_run: Type.Optional(Type.Boolean({
    default: false,
    description: 'true: check everything and answer where and when it would run, without queueing anything.'
  })),
  ...webhookFields
}

const file = (description: string) => Type.String({ format: 'binary', description })

/** Other parameters stand in for a prompt as well, but hardly any request is without one. */
const somethingToGenerate = needing(['prompt'], ['generation_params'], ['generation_info_raw'])

/** The first of the parameters, which can all be beside the other fields. */
const promptField = {
  prompt: Type.Optional(Nullable(Type.String(), {
    description: 'What to generate. This and every other field of generation_params can be here instead.',
    examples: ['a lighthouse at dusk']
  }))
}

/** Further members of forms. */
const formFields = {
  init_images: Type.Optional(Type.Array(file('PNG, JPEG or WebP.'), { description: 'Pictures to start from.' })),
  mask: Type.Optional(file('The white part is generated again. Needs init_images.')),
  latent_mask: Type.Optional(file('Mask in latent space.')),
  firstpass_image: Type.Optional(file('Picture that replaces the first pass of hires fix.'))
}

const groupField = {
  group: Type.Optional(Type.String({
    pattern: '^[A-Za-z0-9_-]{1,64}$',
    description: 'Any name of the caller\'s own that several of its jobs share, such as those of a sweep. Lists, counts and ' +
      'actions can select them by `bulk_job_id` of the job, which contains it.'
  }))
}

/** Clients of several programs send their own fields along: unknown ones lead to a warning, unless `strict` is true. */
export const GenerateRequest = Type.Object({ ...requestFields, ...promptField, ...groupField }, {
  ...somethingToGenerate,
  $id: 'GenerateRequest',
  description: 'What to generate, where, and how urgent it is.',
  additionalProperties: true,
  examples: [{ prompt: 'a lighthouse' }, {
    target_server_alias: 'auto',
    generation_params: { prompt: 'a lighthouse at dusk', steps: 20, width: 512, height: 512 }
  }]
})
export type GenerateRequest = Static<typeof GenerateRequest>

export const GenerateForm = Type.Object({ ...requestFields, ...promptField, ...groupField, ...formFields }, {
  ...somethingToGenerate,
  $id: 'GenerateForm',
  description: 'The same as a form: generation_params as JSON text, or its fields beside the others; images as files.',
  additionalProperties: true
})

/** v1 has always required the server; an empty one is any. */
export const GenerateRequestV1 = Type.Object({ ...GenerateRequest.properties, target_server_alias: target }, {
  ...somethingToGenerate,
  $id: 'GenerateRequestV1',
  description: 'The same as GenerateRequest, with a server.',
  additionalProperties: true,
  examples: [{ target_server_alias: 'auto', prompt: 'a lighthouse' }]
})

export const GenerateFormV1 = Type.Object({ ...GenerateForm.properties, target_server_alias: target }, {
  ...somethingToGenerate,
  $id: 'GenerateFormV1',
  description: 'The same as GenerateForm, with a server.',
  additionalProperties: true
})

const bulkFields = {
  bulk_quantity: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 10, description: 'How many jobs.' })),
  seed_variation: Type.Optional(StringEnum(['random', 'incremental'], {
    default: 'random', description: 'random: a seed of its own for each. incremental: base seed, then one more each.'
  })),
  base_seed: Type.Optional(SeedNumber(
    'First seed of an incremental bulk, up to 18446744073709551615; -1 uses that of the parameters.',
    { minimum: -1, default: -1 }
  )),
  job_delay: Type.Optional(Type.Number({
    minimum: 0,
    maximum: 30,
    default: 0,
    description: 'Accepted for old clients; the queue needs no pause between jobs.'
  }))
}

export const BulkRequest = Type.Object({ ...requestFields, ...promptField, ...bulkFields }, {
  ...somethingToGenerate,
  $id: 'BulkRequest',
  description: 'One generation to be made many times.',
  additionalProperties: true,
  examples: [{
    target_server_alias: 'auto',
    bulk_quantity: 3,
    generation_params: { prompt: 'a lighthouse at dusk', steps: 20 }
  }]
})
export type BulkRequest = Static<typeof BulkRequest>

export const BulkForm = Type.Object({ ...requestFields, ...promptField, ...bulkFields, ...formFields }, {
  ...somethingToGenerate,
  $id: 'BulkForm',
  description: 'The same as a form, as for a single job.',
  additionalProperties: true
})

const id = (description: string) => Type.String({ description })

export const GenerateAnswer = Type.Object({
  success,
  id: id('The job.'),
  job_id: id('Same as id.'),
  mobilesd_job_id: id('Same as id.'),
  stablequeue_job_id: id('Same as id.'),
  status: Type.String({ description: 'Always pending: the job waits in the queue.' }),
  queue_position: Type.Integer({ minimum: 1, description: 'Its rank among the waiting jobs that it competes with.' }),
  app_type: Type.String({ description: 'As given.' }),
  creation_timestamp: Timestamp('When it was accepted.'),
  target_server_alias: Type.String({ description: 'Server that has it or that it needs; `default` while any of several can take it.' }),
  priority: Type.Integer({ description: '1 to 10.' }),
  seed: Nullable(SeedNumber('The seed, resolved.')),
  ...seedText,
  warnings: Type.Array(Ref(Warning), { description: 'What was changed or ignored.' }),
  webhook_signing_secret: webhookSigningSecret,
  links: Type.Record(Type.String(), Type.String(), { description: 'Where to go from here.' })
}, { $id: 'GenerateAnswer', description: 'A job that was accepted.' })
export type GenerateAnswer = Static<typeof GenerateAnswer>

export const DryRunAnswer = Type.Object({
  success,
  dry_run: Type.Literal(true, { description: 'Nothing was queued.' }),
  total_jobs: Type.Integer({ minimum: 1, description: 'How many jobs it would be; the times are those of the first.' }),
  servers: Type.Array(Type.String(), { description: 'Aliases of the servers that have what it needs.' }),
  target_server_alias: Type.String({ description: 'Server that is expected to run it; `default` if that is not known.' }),
  queue_position: Nullable(Type.Integer({ minimum: 1 }), { description: 'Its rank among the waiting jobs.' }),
  eta_seconds: Nullable(Type.Number({ minimum: 0 }), { description: 'Seconds until it would end; null if that is not known.' }),
  eta_seconds_p90: Nullable(Type.Number({ minimum: 0 }), { description: 'Seconds that nine of ten such jobs do not exceed.' }),
  waiting_for: Nullable(Type.String(), { description: 'What it would wait for, in words.' }),
  priority: Type.Integer({ description: '1 to 10.' }),
  seed: Nullable(SeedNumber('The seed, resolved.')),
  ...seedText,
  warnings: Type.Array(Ref(Warning), { description: 'What would be changed or ignored.' })
}, { $id: 'DryRunAnswer', description: 'What a submission would lead to.' })
export type DryRunAnswer = Static<typeof DryRunAnswer>

export const SubmitAnswer = Type.Union([Ref(GenerateAnswer), Ref(DryRunAnswer)], {
  $id: 'SubmitAnswer', description: 'A job that was accepted, or the answer to a dry run.'
})

export const BulkAnswer = Type.Object({
  success,
  bulk_job_id: id('The bulk.'),
  total_jobs: Type.Integer({ description: 'How many jobs it has.' }),
  target_server_alias: Type.String({ description: 'Server that will run them.' }),
  jobs: Type.Array(Type.Object({
    id: id('The job.'),
    job_id: id('Same as id.'),
    mobilesd_job_id: id('Same as id.'),
    stablequeue_job_id: id('Same as id.'),
    queue_position: Type.Integer({ description: 'Position in the queue.' })
  }), { description: 'In their order.' }),
  warnings: Type.Array(Ref(Warning), { description: 'What was changed or ignored.' }),
  links: Type.Record(Type.String(), Type.String(), { description: 'Where to go from here.' })
}, { $id: 'BulkAnswer', description: 'A bulk that was accepted.' })
export type BulkAnswer = Static<typeof BulkAnswer>

export const BulkView = Type.Object({
  success,
  bulk_job_id: id('The bulk.'),
  total_jobs: Type.Integer({ description: 'Jobs in it.' }),
  pending_jobs: Type.Integer({ description: 'That wait.' }),
  processing_jobs: Type.Integer({ description: 'That run.' }),
  completed_jobs: Type.Integer({ description: 'That are done.' }),
  failed_jobs: Type.Integer({ description: 'That failed.' }),
  cancelled_jobs: Type.Integer({ description: 'That were cancelled.' }),
  progress_percentage: Type.Number({ description: '0 to 100, over all jobs.' }),
  jobs: Type.Array(Type.Object({
    id: id('The job.'),
    mobilesd_job_id: id('Same as id.'),
    stablequeue_job_id: id('Same as id.'),
    status: Type.String({ description: 'Its state.' }),
    queue_position: Nullable(Type.Integer(), { description: 'Position in the queue; null unless it waits.' }),
    preview_url: Nullable(Type.String(), { description: 'Its first image.' })
  }), { description: 'In their order.' })
}, { $id: 'BulkView', description: 'How far a bulk is.' })
export type BulkView = Static<typeof BulkView>

export const BulkIdParameters = Type.Object({ bulkId: Type.String({ description: 'Id of the bulk.', maxLength: 64 }) })
