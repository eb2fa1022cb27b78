import { type TSchema, Type } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { A1111Img2img, A1111Txt2img } from '../../schemas/a1111.ts'
import type { Warning } from '../../schemas/generation-parameters.ts'
import { WebhookFields, webhookFields } from '../../schemas/webhook.ts'
import { rulesOf } from '../../src/a1111/kinds/registry.ts'
import type { DrawingMode } from '../../src/a1111/types.ts'
import type { Job } from '../../src/jobs/job.ts'
import { newJobId } from '../../src/jobs/submit.ts'
import { readWebhookRequest, type WebhookRequest } from '../../src/jobs/webhook-request.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { fieldsOf } from '../../src/lib/json-values.ts'
import { type AnswerOptions, blanksUntil, generationAnswer } from '../../src/sdapi/answer.ts'
import { type GenerationCall, readGenerationCall } from '../../src/sdapi/request.ts'
import { breakOff, disconnectSignal, stream } from '../core/held-requests.ts'
import { ownAddress } from '../core/prefix.ts'
import { contextOf } from '../core/request-log.ts'
import {
  answerMode, type BasePath, clientOfRequest, earlyPreference, isProxyClient, prefersEarly, sendJson, serverHeader,
  targetOf
} from './call.ts'

interface AskedWebhook {
  readonly webhook: WebhookRequest | null
  /** Returned in events; undefined if it was not given. */
  readonly metadata: unknown
}

/**
 * The webhook fields of a generation request, beside A1111's own fields. async-proxy's clients get their known form by
 * default.
 * @throws an error of Fastify's validation, or ServiceError `invalid_field_value`
 */
function readAskedWebhook (request: FastifyRequest): AskedWebhook {
  const sent = fieldsOf(request.body)
  const fields: Record<string, unknown> = {}
  for (const name of Object.keys(webhookFields)) if (Object.hasOwn(sent, name)) fields[name] = sent[name]
  const isValid = request.compileValidationSchema(WebhookFields, 'body')
  if (!isValid(fields)) {
    throw Object.assign(new Error('the fields of webhooks are wrong'), {
      validation: isValid.errors ?? [], validationContext: 'body'
    })
  }
  const { metadata, ...requested } = fields as WebhookFields
  return { webhook: readWebhookRequest({ webhook_format: 'legacy', ...requested }), metadata }
}

export interface GenerationsOptions {
  /** The path before `/sdapi/v1`. */
  readonly path: BasePath
  /** Lets an answer be sent although the service stops. */
  readonly keepAnswer: (reply: FastifyReply) => void
}

const noTagger: Warning = {
  code: 'no_tagger',
  message: 'The images get no tags, since no tagger is configured here; an administrator can name one in TAGGER_URL.',
  field: 'meta.auto_tag'
}

const bodies: Readonly<Record<DrawingMode, TSchema>> = { txt2img: A1111Txt2img, img2img: A1111Img2img }

const route = { tags: ['A1111'], consumes: ['application/json'] }

const answerQuery = Type.Object({
  async: Type.Optional(Type.String({
    description: '1: answer 202 with the id at once. 0: wait, overriding everything else in the request.'
  }))
})

const answerHeaders = Type.Object({
  prefer: Type.Optional(Type.String({
    description: '`early-job-id`, or `respond-async`, optionally with `wait=N`: seconds to wait before 202.',
    examples: ['early-job-id']
  })),
  [serverHeader]: Type.Optional(Type.String({ description: 'Alias of the server for the job.' }))
})

/** POST txt2img and img2img: A1111's own answer when the images are ready, or 202 for clients that do not wait. */
const generations: FastifyPluginAsync<GenerationsOptions> = async (app, { path, keepAnswer }) => {
  const {
    config, submitter, jobStore: store, media, states, ownOptions: own, clientJobs, clientTasks, outcomes, shortIds,
    pause
  } = app

  for (const mode of ['txt2img', 'img2img'] as const) {
    app.post(`/${mode}`, {
      config: { access: { scope: 'jobs:write' }, documentedBody: bodies[mode], storesImages: true },
      schema: {
        ...route,
        operationId: `a1111_${mode}`,
        summary: `Generate as A1111's ${mode} does`,
        description: 'Takes A1111\'s request and answers as A1111 does once the images are there, with the status and ' +
          'the error of the server if it fails. The job\'s id comes with the answer in X-Job-ID. `Prefer: ' +
          'early-job-id` sends status 200 and X-Job-ID as soon as the job is accepted; a failure then aborts the ' +
          'transfer, and `GET /sdapi/v1/job/{id}` says why. `Prefer: respond-async` or `?async=1` gets 202 with the id.',
        headers: answerHeaders,
        querystring: answerQuery
      }
    }, async (request, reply) => await generate(mode, request, reply))
  }

  async function generate (mode: DrawingMode, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const gone = disconnectSignal(reply)
    const client = clientOfRequest(request)
    const call = readGenerationCall(mode, request.body, await own.read(client))
    const asked = readAskedWebhook(request)
    const answer = answerMode(request, {
      path, byToken: isProxyClient(request, config), byWebhook: asked.webhook !== null
    }, config)
    if (answer.kind !== 'async' || answer.waitSeconds > 0) {
      reply.hold('waiting')
      keepAnswer(reply)
    }
    const id = await submit(call, asked, request, reply)
    // Up to 64 MiB that are not needed while the client waits.
    request.body = undefined
    request.intake?.settle(0)
    if (request.principal.dropIn.onHangUp === 'cancel') gone.addEventListener('abort', () => { cancelQuietly(id) })
    reply.headers({ vary: 'Prefer', 'cache-control': 'no-store' })
    if (answer.kind === 'async') {
      const job = await outcomes.within(id, answer.waitSeconds, gone)
      return job === null ? accepted(id, reply) : await sendImages(job, call, reply)
    }
    if (answer.kind === 'early') return answerEarly(id, call, gone, reply)
    const job = await outcomes.of(id, gone)
    return job === null ? reply.hijack() : await sendImages(job, call, reply)
  }

  async function submit (
    call: GenerationCall, { webhook, metadata }: AskedWebhook, request: FastifyRequest, reply: FastifyReply
  ): Promise<string> {
    const client = clientOfRequest(request)
    const autoTag = fieldsOf(fieldsOf(request.body).meta).auto_tag === true
    const checked = await submitter.check({
      target: targetOf(request),
      given: call.given,
      unnamed: call.unnamed,
      appType: 'a1111',
      source: 'sdapi',
      judge: 'server',
      priority: 5,
      onMissing: config.SDAPI_UNKNOWN_NAMES,
      onDifference: 'warn',
      keyId: request.principal.keyId,
      context: contextOf(request),
      bulkId: null,
      webhook,
      autoTag,
      warnings: autoTag && config.TAGGER_URL === '' ? [noTagger] : [],
      baseUrl: ownAddress(request),
      ...(metadata === undefined ? {} : { metadata })
    })
    const id = newJobId()
    const origin = config.TRACKER_ENABLED ? { shortId: await shortIds.claim(id), caller: client, ip: request.ip } : null
    const tracked = origin === null ? checked : { ...checked, request: { ...checked.request, dropIn: origin } }
    await submitter.accept(tracked, id)
    // The job is accepted: a failure of the aids for finding it must not deny that.
    await Promise.all([
      clientJobs.add(client, id), call.taskId === null ? undefined : clientTasks.note(client, call.taskId, id)
    ]).catch(error => { request.log.warn({ job: id, err: error }, 'the job is not noted for its caller') })
    if (origin !== null) reply.header('x-job-id', origin.shortId)
    return id
  }

  function cancelQuietly (id: string): void {
    store.cancel(id).catch(error => { app.log.debug({ job: id, err: error }, 'not cancelled') })
  }

  function accepted (id: string, reply: FastifyReply): FastifyReply {
    reply.code(202).headers({ location: `/sdapi/v1/jobs/${id}`, 'preference-applied': 'respond-async' })
    return sendJson(reply, { uuid: id })
  }

  /** The echo has the fields of the server that ran it. */
  async function optionsOf ({ echo, sendImages }: GenerationCall, { serverId }: Job): Promise<AnswerOptions> {
    const traits = await states.traits(serverId).catch(() => null)
    return { echo: echo(rulesOf(traits).requestModel), sendImages }
  }

  async function sendImages (job: Job, call: GenerationCall, reply: FastifyReply): Promise<FastifyReply> {
    const requestedOptions = await optionsOf(call, job)
    return await reply.type('application/json').send(stream(generationAnswer(media, job, requestedOptions)))
  }

  /**
   * Status and headers are sent now, with a blank. They cannot be taken back, so a failure breaks the transfer off: a
   * client would take a complete answer for images.
   */
  function answerEarly (id: string, call: GenerationCall, gone: AbortSignal, reply: FastifyReply): FastifyReply {
    // nginx would keep the headers until the body fills its buffer
    reply.code(200).type('application/json').header('x-accel-buffering', 'no')
    if (prefersEarly(reply.request) === true) reply.header('preference-applied', earlyPreference)
    return reply.send(stream(body()))

    async function * body (): AsyncGenerator<string> {
      const ended = outcomes.of(id, gone)
      yield * blanksUntil(ended, pause)
      try {
        const job = await ended
        if (job !== null) yield * generationAnswer(media, job, await optionsOf(call, job))
      } catch (error) {
        if (gone.aborted) return
        reply.log.info({ job: id, err: error }, 'the early answer is broken off: the job has no images to send')
        breakOff(reply)
      }
    }
  }
}

export default generations

/** async-proxy's questions to Florence-2 about an image. */
export const florence: FastifyPluginAsync = async app => {
  const { florence: service } = app

  app.post('/florence', {
    config: { access: { scope: 'jobs:write' } },
    schema: {
      tags: ['A1111'],
      operationId: 'a1111_florence',
      summary: 'Ask Florence-2 about a picture, as async-proxy does',
      description: 'Takes `imageUrl` and `task`, and if wanted `mode`, `prompt`, `webhookUrl` and `webhookKey`. The ' +
        'answer is 202 with the `uuid` of a job, whose `info` is what Florence says. Needs the setting FLORENCE_URL.'
    }
  }, async (request, reply) => {
    if (service === null) {
      return sendJson(reply.code(404), {
        error: 'No Florence service is configured here; an administrator can name one in FLORENCE_URL.'
      })
    }
    try {
      const { id } = await service.order(request.body, {
        keyId: request.principal.keyId,
        webhook: readAskedWebhook(request).webhook,
        baseUrl: ownAddress(request)
      })
      return sendJson(reply.code(202).header('location', `/sdapi/v1/jobs/${id}`), { uuid: id })
    } catch (error) {
      if (!(error instanceof ServiceError) || error.status >= 500) throw error
      return sendJson(reply.code(error.status), { error: error.message })
    }
  })
}
