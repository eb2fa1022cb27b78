import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import {
  BulkAnswer, BulkForm, BulkRequest, GenerateAnswer, GenerateForm, GenerateRequest
} from '../../schemas/generate.ts'
import { errorResponses } from '../../schemas/error.ts'
import { GenerationParameters, type Warning } from '../../schemas/generation-parameters.ts'
import { JsonOrForm, Ref } from '../../schemas/kit.ts'
import {
  describeUnknownField, parameterSynonyms, unknownFieldsError, warningsOfUnknown
} from '../../src/a1111/unknown-fields.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { iso } from '../../src/lib/text.ts'
import { newBulkId } from '../../src/jobs/many.ts'
import { signingSecretOf } from '../../src/webhooks/signing-keys.ts'
import { readWebhookRequest } from '../../src/jobs/webhook-request.ts'
import { seedText } from '../../src/lib/seeds.ts'
import { newJobId, type Accepted, type SubmissionRequest } from '../../src/jobs/submit.ts'
import { namingFields, namingWarnings } from './parameter-fields.ts'
import { jobIds, jobLinks } from './render-job.ts'

/** Clients that accept only 200 as success; all others get 202. */
const sourcesThatNeed200 = new Set(['civitai_browser_plus'])

/** Files of a form become images of the generation parameters. */
const submitting = { access: { scope: 'jobs:write' }, multipart: { imagesIn: 'generation_params' } } as const

const idempotencyHeader = {
  type: 'object',
  properties: {
    'idempotency-key': {
      type: 'string',
      maxLength: 255,
      description: 'Any text of the client\'s own: a repeat with the same text returns the first answer.'
    }
  }
} as const

/** Submitting, single and in bulk, under v1 and v2. */
const generate: FastifyPluginAsyncTypebox = async app => {
  const { submitter, bulks, idempotency } = app

  async function submit (request: FastifyRequest, id: string): Promise<Accepted> {
    const body = request.body as GenerateRequest
    return await namingFields({ body, isForm: request.isMultipart() }, async () =>
      await submitter.accept(await submitter.check(toSubmission(request, body, single)), id))
  }

  for (const version of ['v1', 'v2'] as const) {
    app.post(`/api/${version}/generate`, {
      config: submitting,
      schema: {
        operationId: `generate_${version}`,
        tags: ['Generate'],
        summary: 'Submit a job',
        description: 'Queues one generation and answers at once with its id. Accepts JSON, or multipart/form-data ' +
          'with the same fields, parameters beside them, and image files. `civitai_browser_plus` as source_info is ' +
          'answered with 200.',
        headers: idempotencyHeader,
        body: JsonOrForm(GenerateRequest, GenerateForm),
        response: {
          200: { ...Ref(GenerateAnswer), description: 'Accepted; for clients that accept only 200 as success.' },
          202: { ...Ref(GenerateAnswer), description: 'Accepted: the job waits in the queue.' },
          ...errorResponses(400, 403, 404, 413, 415, 422)
        }
      }
    }, async (request, reply) => {
      const body = request.body as GenerateRequest
      const { keyId, kind } = request.principal
      const keyed = { owner: keyId ?? kind, key: idempotencyKey(request.headers), operation: 'generate', body }
      const { answer } = await idempotency.once(keyed, newJobId, async (id, begun) => {
        const before = begun ? await submitter.recall(id) : null
        return renderAccepted(before ?? await submit(request, id), body)
      })
      reply.code(sourcesThatNeed200.has(body.source_info ?? '') ? 200 : 202)
      reply.header('location', `/api/v2/jobs/${answer.id}`)
      // beside the stored answer that a repeat gets
      return { ...answer, ...signingSecretOf(body) }
    })
  }

  app.post('/api/v2/generate/bulk', {
    config: submitting,
    schema: {
      operationId: 'generate_bulk',
      tags: ['Generate'],
      summary: 'Submit many jobs at once',
      description: 'The same generation several times with different seeds, as one bulk that can be watched and ' +
        'cancelled with one call.',
      headers: idempotencyHeader,
      body: JsonOrForm(BulkRequest, BulkForm),
      response: {
        202: { ...Ref(BulkAnswer), description: 'Accepted: all of them wait in the queue.' },
        ...errorResponses(400, 403, 404, 413, 415, 422)
      }
    }
  }, async (request, reply) => {
    const body = request.body as BulkRequest
    const { keyId, kind } = request.principal
    const keyed = { owner: keyId ?? kind, key: idempotencyKey(request.headers), operation: 'bulk', body }
    const { answer } = await idempotency.once(keyed, newBulkId, async id => {
      const order = {
        quantity: body.bulk_quantity ?? 10,
        seedVariation: body.seed_variation ?? 'random',
        baseSeed: body.base_seed ?? -1
      } as const
      return renderBulk(id, await namingFields({ body, isForm: request.isMultipart() }, async () =>
        await bulks.submit(id, toSubmission(request, body, many), order)))
    })
    reply.code(202).header('location', `/api/v2/generate/bulk/${answer.bulk_job_id}`)
    return answer
  })
}

export default generate

function idempotencyKey (headers: Readonly<Record<string, unknown>>): string | undefined {
  const value = headers['idempotency-key']
  return typeof value === 'string' ? value : undefined
}

/** Top-level fields of a route's request, and their aliases. */
interface KnownFields {
  readonly names: readonly string[]
  readonly synonyms: Readonly<Record<string, string>>
}

/** Parameters are one level below. */
const parameterNames = Object.fromEntries([
  ...Object.keys(GenerationParameters.properties).map(name => [name, name] as const),
  ...Object.entries(parameterSynonyms)
].map(([name, parameter]) => [name, `generation_params.${parameter}`]))
const single: KnownFields = { names: Object.keys(GenerateRequest.properties), synonyms: parameterNames }
const many: KnownFields = {
  names: Object.keys(BulkRequest.properties),
  synonyms: {
    ...parameterNames,
    ...Object.fromEntries(['count', 'quantity', 'number', 'jobs'].map(name => [name, 'bulk_quantity']))
  }
}

/**
 * Warnings of unread fields. A form's further fields are parameters, which have warnings of their own.
 * @throws ServiceError `invalid_field_value` about them if the request is strict
 */
function warnOfUnknown (request: FastifyRequest, body: GenerateRequest, { names, synonyms }: KnownFields): Warning[] {
  if (request.isMultipart()) return []
  const unknown = Object.keys(body).filter(name => !names.includes(name))
    .map(name => describeUnknownField(name, names, '', synonyms))
  const [first, ...others] = unknown
  if (first !== undefined && body.strict === true) throw unknownFieldsError([first, ...others])
  return warningsOfUnknown(unknown)
}

/** @throws ServiceError `missing_required_field` if there is nothing to generate from */
function toSubmission (request: FastifyRequest, body: GenerateRequest, known: KnownFields): SubmissionRequest {
  const warnings = warnOfUnknown(request, body, known)
  const raw = body.generation_info_raw?.trim() ?? ''
  const inside = body.generation_params
  const parameters = request.isMultipart() ? { ...flatParameters(body), ...inside } : inside
  const given: unknown = raw === '' ? parameters : { ...parameters, generation_info_raw: raw }
  if (given === undefined || given === null) {
    throw new ServiceError('missing_required_field',
      'generation_params is required: an object such as { "prompt": "a lighthouse" }.', { field: 'generation_params' })
  }
  if (Object.keys(given).length === 0) {
    throw new ServiceError('invalid_field_value', 'generation_params must say what to generate; it is empty.',
      { field: 'generation_params' })
  }
  return {
    target: body.target_server_alias,
    given,
    clientFields: parameters,
    appType: body.app_type ?? 'forge',
    source: body.source_info ?? 'extension',
    priority: body.priority ?? 5,
    onMissing: body.on_missing ?? 'refuse',
    onDifference: body.on_difference ?? 'warn',
    keyId: request.principal.keyId,
    bulkId: null,
    webhook: readWebhookRequest(body),
    baseUrl: `${request.protocol}://${request.host}`,
    ...(body.strict === true ? { unknown: 'refuse' } : {}),
    warnings,
    ...(body.metadata === undefined ? {} : { metadata: body.metadata })
  }
}

/** A form has no object for parameters, so its further fields are parameters. */
function flatParameters (body: GenerateRequest): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !(name in BulkRequest.properties)))
}

function renderAccepted (accepted: Accepted, body: GenerateRequest): GenerateAnswer {
  return {
    success: true,
    ...jobIds(accepted.id),
    status: 'pending',
    queue_position: accepted.position,
    app_type: body.app_type ?? 'forge',
    creation_timestamp: iso(accepted.createdAt),
    target_server_alias: accepted.alias,
    priority: body.priority ?? 5,
    seed: accepted.seed,
    seed_text: seedText(accepted.seed),
    warnings: namingWarnings(accepted.warnings),
    links: jobLinks(accepted.id)
  }
}

function renderBulk (id: string, accepted: readonly Accepted[]): BulkAnswer {
  const self = `/api/v2/generate/bulk/${id}`
  return {
    success: true,
    bulk_job_id: id,
    total_jobs: accepted.length,
    target_server_alias: accepted[0]?.alias ?? '',
    jobs: accepted.map(job => ({ ...jobIds(job.id), queue_position: job.position })),
    warnings: namingWarnings(accepted[0]?.warnings ?? []),
    links: { self, cancel: `${self}/cancel` }
  }
}
