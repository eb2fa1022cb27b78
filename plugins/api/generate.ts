import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import {
  BulkAnswer, BulkForm, BulkRequest, DryRunAnswer, GenerateAnswer, GenerateForm, GenerateFormV1,
  GenerateRequest, GenerateRequestV1, SubmitAnswer
} from '../../schemas/generate.ts'
import {
  GenerationParameters, ParametersToRead, ReadParameters, type Warning
} from '../../schemas/generation-parameters.ts'
import { JsonOrForm, Ref } from '../../schemas/kit.ts'
import {
  describeUnknownField, parameterSynonyms, unknownFieldsError, warningsOfUnknown
} from '../../src/a1111/unknown-fields.ts'
import { newBulkId } from '../../src/jobs/many.ts'
import { type Accepted, type DryRun, dryRun, newJobId, type SubmissionRequest } from '../../src/jobs/submit.ts'
import { readWebhookRequest } from '../../src/jobs/webhook-request.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { seedText } from '../../src/lib/seeds.ts'
import { iso } from '../../src/lib/text.ts'
import { formAsked } from '../../src/media/encode-form.ts'
import { parametersOf, readImage, readText } from '../../src/media/generation-text.ts'
import { signingSecretOf } from '../../src/webhooks/signing-keys.ts'
import { ownAddress } from '../core/prefix.ts'
import { contextOf } from '../core/request-log.ts'
import { isParameterName, mergedParameters, namingFields, namingWarnings } from './parameter-fields.ts'
import { jobIds, jobLinks, renderSeconds } from './render-job.ts'

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
  const { submitter, bulks, idempotency, registry, estimates, workPrediction } = app

  async function submit (request: FastifyRequest, id: string): Promise<Accepted> {
    const body = request.body as GenerateRequest
    return await namingFields(body, async () =>
      // Jobs of a group come one by one, unlike those of a bulk.
      await submitter.accept(await submitter.check(await toSubmission(request, body, single)), id, undefined, id))
  }

  async function answerDryRun (request: FastifyRequest, known: KnownFields, jobs: number): Promise<DryRunAnswer> {
    const body = request.body as GenerateRequest
    return await namingFields(body, async () => {
      const checked = await submitter.check(await toSubmission(request, body, known), jobs)
      return renderDryRun(await dryRun(checked, { registry, estimates, work: workPrediction }), body, jobs)
    })
  }

  for (const [version, body] of [
    ['v1', JsonOrForm(GenerateRequestV1, GenerateFormV1)], ['v2', JsonOrForm(GenerateRequest, GenerateForm)]
  ] as const) {
    app.post(`/api/${version}/generate`, {
      config: submitting,
      schema: {
        operationId: 'jobs.submit',
        tags: ['Jobs'],
        summary: 'Submit a job',
        description: 'Queues one generation and answers at once with its id. Accepts JSON, or multipart/form-data ' +
          'with the same fields, parameters beside them, and image files. `civitai_browser_plus` as source_info is ' +
          'answered with 200.',
        headers: idempotencyHeader,
        body,
        response: {
          200: {
            ...Ref(SubmitAnswer),
            description: 'Accepted, for clients that accept only 200 as success; or the answer to a dry run.'
          },
          202: { ...Ref(GenerateAnswer), description: 'Accepted: the job waits in the queue.' },
          ...errorResponses(400, 403, 404, 413, 415, 422)
        }
      }
    }, async (request, reply) => {
      const body = request.body as GenerateRequest
      if (body.dry_run === true) return await reply.code(200).send(await answerDryRun(request, single, 1))
      const { keyId, kind } = request.principal
      const keyed = { owner: keyId ?? kind, key: idempotencyKey(request.headers), operation: 'generate', body }
      const { answer, repeated } = await idempotency.once(keyed, newJobId, async (id, begun) => {
        const before = begun ? await submitter.recall(id) : null
        return renderAccepted(before ?? await submit(request, id), body, request.base)
      })
      reply.code(sourcesThatNeed200.has(body.source_info ?? '') ? 200 : 202)
      reply.headers({ location: `/api/v2/jobs/${answer.id}`, ...replayed(repeated) })
      // beside the stored answer that a repeat gets
      return { ...answer, ...signingSecretOf(body) }
    })
  }

  app.post('/api/v2/generate/bulk', {
    config: submitting,
    schema: {
      operationId: 'bulks.submit',
      tags: ['Jobs'],
      summary: 'Submit many jobs at once',
      description: 'The same generation several times with different seeds, as one bulk that can be watched and ' +
        'cancelled with one call.',
      headers: idempotencyHeader,
      body: JsonOrForm(BulkRequest, BulkForm),
      response: {
        200: { ...Ref(DryRunAnswer), description: 'The answer to a dry run.' },
        202: { ...Ref(BulkAnswer), description: 'Accepted: all of them wait in the queue.' },
        ...errorResponses(400, 403, 404, 413, 415, 422)
      }
    }
  }, async (request, reply) => {
    const body = request.body as BulkRequest
    const quantity = body.bulk_quantity ?? 10
    if (body.dry_run === true) return await reply.code(200).send(await answerDryRun(request, many, quantity))
    const { keyId, kind } = request.principal
    const keyed = { owner: keyId ?? kind, key: idempotencyKey(request.headers), operation: 'bulk', body }
    const { answer, repeated } = await idempotency.once(keyed, newBulkId, async id => {
      const order = {
        quantity,
        seedVariation: body.seed_variation ?? 'random',
        baseSeed: body.base_seed ?? -1
      } as const
      return renderBulk(id, await namingFields(body, async () =>
        await bulks.submit(id, await toSubmission(request, body, many), order)), body, request.base)
    })
    reply.code(202).headers({ location: `/api/v2/generate/bulk/${answer.bulk_job_id}`, ...replayed(repeated) })
    return answer
  })
}

export default generate

/** Parameters of an image, in the form's names. */
export const readParameters: FastifyPluginAsyncTypebox = async app => {
  app.post('/api/v1/read-parameters', {
    config: { access: { scope: 'images:read' } },
    schema: {
      operationId: 'parameters.read',
      tags: ['Jobs'],
      summary: 'Read the parameters inside a picture or a text',
      description: 'Nothing is kept. The fields go into generation_params of a job as they are.',
      body: Ref(ParametersToRead),
      response: { 200: { ...Ref(ReadParameters), description: 'What was found.' }, ...errorResponses(400, 403, 404, 413, 422) }
    }
  }, async request => {
    const { body: { image, text }, principal } = request
    if ((image === undefined) === (text === undefined)) {
      throw new ServiceError('missing_required_field', 'Send either image or text, not both.', { field: 'image' })
    }
    const { source, text: found, infotext, notes } = text === undefined
      ? await readImage(await app.imageSources.read(image, 'image', principal))
      : readText(text)
    return {
      success: true as const,
      text: found,
      generation_params: parametersOf(infotext),
      ...(source === null ? {} : { source }),
      ...(notes.length === 0 ? {} : { notes: [...notes] })
    }
  })
}

function idempotencyKey (headers: Readonly<Record<string, unknown>>): string | undefined {
  const value = headers['idempotency-key']
  return typeof value === 'string' ? value : undefined
}

/** Says that an answer is that of an earlier request with the same key. */
function replayed (repeated: boolean): Record<string, string> {
  return repeated ? { 'idempotency-replayed': 'true' } : {}
}

/** Top-level fields of a route's request, and their aliases. */
interface KnownFields {
  readonly names: readonly string[]
  readonly synonyms: Readonly<Record<string, string>>
}

/** Names that people use for parameters. */
const parameterNames = Object.fromEntries([
  ...Object.keys(GenerationParameters.properties).map(name => [name, name] as const),
  ...Object.entries(parameterSynonyms)
])
const single: KnownFields = { names: Object.keys(GenerateRequest.properties), synonyms: {} }
const many: KnownFields = {
  names: Object.keys(BulkRequest.properties),
  synonyms: Object.fromEntries(['count', 'quantity', 'number', 'jobs'].map(name => [name, 'bulk_quantity']))
}

interface BesideFields {
  readonly parameters: Record<string, unknown>
  readonly warnings: Warning[]
}

/**
 * The fields beside those of the route: parameters, and unknown ones, which a form cannot tell apart.
 * @throws ServiceError `invalid_field_value` about unknown ones if the request is strict
 */
function besideFields (request: FastifyRequest, body: GenerateRequest, { names, synonyms }: KnownFields): BesideFields {
  const beside = Object.keys(body).filter(name => name === 'prompt' || !names.includes(name))
  const isUnknown = (name: string) => !request.isMultipart() && !isParameterName(name)
  const parameters: Record<string, unknown> = {}
  const unknownNames: string[] = []
  for (const name of beside) {
    if (isUnknown(name)) unknownNames.push(name)
    else parameters[name] = Reflect.get(body, name)
  }
  if (unknownNames.length === 0) return { parameters, warnings: [] }
  // Suggestions name the place that the client uses.
  const place = body.generation_params == null ? '' : 'generation_params.'
  const meant = Object.fromEntries(Object.entries(parameterNames).map(([name, own]) => [name, `${place}${own}`]))
  const unknown = unknownNames.map(name => describeUnknownField(name, names, '', { ...meant, ...synonyms }))
  const [first, ...others] = unknown
  if (first !== undefined && body.strict === true) throw unknownFieldsError([first, ...others])
  return { parameters, warnings: warningsOfUnknown(unknown) }
}

/** @throws ServiceError `missing_required_field` if there is nothing to generate from */
async function toSubmission (
  request: FastifyRequest, body: GenerateRequest, known: KnownFields
): Promise<SubmissionRequest> {
  const { parameters: beside, warnings } = besideFields(request, body, known)
  const raw = body.generation_info_raw?.trim() ?? ''
  const { principal, server: { imageSources } } = request
  const sent = mergedParameters(body.generation_params, beside)
  const parameters = sent === undefined ? undefined : await imageSources.resolve(sent, principal)
  const given = raw === '' ? parameters : { ...parameters, generation_info_raw: raw }
  if (given === undefined) {
    throw new ServiceError('missing_required_field',
      'Say what to generate: send prompt, or generation_params such as { "prompt": "a lighthouse" }.',
      { field: 'generation_params' })
  }
  if (Object.keys(given).length === 0) {
    throw new ServiceError('invalid_field_value', 'generation_params must say what to generate; it is empty.',
      { field: 'generation_params' })
  }
  const output = formAsked(body.output_format, body.output_quality, ['output_format', 'output_quality'])
  return {
    target: body.target_server_alias ?? '',
    given,
    clientFields: parameters,
    appType: body.app_type ?? 'forge',
    source: body.source_info ?? 'extension',
    priority: body.priority ?? 5,
    ...body.background === undefined ? {} : { background: body.background },
    onMissing: body.on_missing ?? 'refuse',
    onDifference: body.on_difference ?? 'warn',
    ...(output === null ? {} : { output }),
    keyId: request.principal.keyId,
    context: contextOf(request),
    bulkId: body.group === undefined ? null : `${request.principal.keyId ?? 'local'}~${body.group}`,
    webhook: readWebhookRequest(body),
    baseUrl: ownAddress(request),
    ...(body.strict === true ? { unknown: 'refuse' } : {}),
    warnings,
    ...(body.metadata === undefined ? {} : { metadata: body.metadata })
  }
}

function renderAccepted (accepted: Accepted, body: GenerateRequest, base: string): GenerateAnswer {
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
    warnings: namingWarnings(accepted.warnings, body),
    links: jobLinks(accepted.id, base)
  }
}

function renderDryRun (
  { alias, servers, position, estimate, waitingFor, seed, warnings }: DryRun, body: GenerateRequest, jobs: number
): DryRunAnswer {
  return {
    success: true,
    dry_run: true,
    total_jobs: jobs,
    servers: [...servers],
    target_server_alias: alias,
    queue_position: position,
    ...renderSeconds(estimate),
    waiting_for: waitingFor,
    priority: body.priority ?? 5,
    seed,
    seed_text: seedText(seed),
    warnings: namingWarnings(warnings, body)
  }
}

function renderBulk (id: string, accepted: readonly Accepted[], body: BulkRequest, base: string): BulkAnswer {
  const self = `${base}/api/v2/generate/bulk/${id}`
  return {
    success: true,
    bulk_job_id: id,
    total_jobs: accepted.length,
    target_server_alias: accepted[0]?.alias ?? '',
    jobs: accepted.map(job => ({ ...jobIds(job.id), queue_position: job.position })),
    warnings: namingWarnings(accepted[0]?.warnings ?? [], body),
    links: { self, cancel: `${self}/cancel` }
  }
}
