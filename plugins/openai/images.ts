import type { Readable } from 'node:stream'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { JsonOrForm, Ref } from '../../schemas/kit.ts'
import { OpenAiEdit, OpenAiEditForm, OpenAiGeneration, OpenAiImages, OpenAiVariationForm } from '../../schemas/openai.ts'
import { newJobId } from '../../src/jobs/submit.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { withoutTrailing } from '../../src/lib/text.ts'
import {
  completedEvents, errorEvent, imagesAnswer, jobToAnswer, linkLifetime, type StreamKind
} from '../../src/openai/answer.ts'
import { selectedCheckpoint, usualSize } from '../../src/openai/models.ts'
import { createPictures, type SentPictures } from '../../src/openai/pictures.ts'
import {
  type ImagesCall, type ImagesRequest, parametersOf, readImagesCall, type Size, sizeLike, startParameters
} from '../../src/openai/request.ts'
import { disconnectSignal, stream } from '../core/held-requests.ts'
import { ownAddress } from '../core/prefix.ts'
import { contextOf } from '../core/request-log.ts'
import { targetOf } from '../sdapi/call.ts'
import { createPartialImages } from './partial-images.ts'
import { resultsPath } from './results.ts'
import { failureOf, openAiErrors } from './scope.ts'

export interface ImagesOptions {
  /** Lets an answer be sent although the service stops. */
  readonly keepAnswer: (reply: FastifyReply) => void
}

type Operation = 'generations' | 'edits' | 'variations'
type Parameters = Record<string, unknown>

const files = { image: 'many', mask: 'one' } as const
const access = { scope: 'jobs:write' } as const

const headers = {
  type: 'object',
  properties: {
    'idempotency-key': {
      type: 'string', maxLength: 255, description: 'Any text of the client\'s own: a repeat with the same text gets the same job.'
    }
  }
} as const

const ways = 'The answer comes when the images are ready, with the id of the job in X-Job-ID. If the client goes, the job ' +
  'goes on, or is cancelled if its key says so (`on_hang_up`).'
const streams = `${ways} With \`stream\`, the answer is a stream of server-sent events: previews and images.`
const response = { 200: { ...Ref(OpenAiImages), description: 'The images.' }, ...openAiErrors }

/** OpenAI's three ways to images: each request is one job. */
const images: FastifyPluginAsync<ImagesOptions> = async (app, { keepAnswer }) => {
  const {
    submitter, idempotency, jobOutcome, media, catalogue, jobStore: store, imageUrls, imageReader, imageSources
  } = app
  const pictures = createPictures({ imageReader, imageSources, media, texts: app.uploadTexts })
  const partialImages = createPartialImages(app)

  app.post('/images/generations', {
    config: { access },
    schema: {
      operationId: 'openai.generateImages',
      tags: ['OpenAI'],
      summary: 'Generate images as OpenAI\'s API does',
      description: streams,
      headers,
      body: Ref(OpenAiGeneration),
      response
    }
  }, async (request, reply) => await answer('generations', request, reply))

  app.post('/images/edits', {
    config: { access, multipart: { files } },
    schema: {
      operationId: 'openai.editImage',
      tags: ['OpenAI'],
      summary: 'Edit an image as OpenAI\'s API does',
      description: `${streams} The transparent part of the mask is generated again; without a mask that of the image, or all of it.`,
      headers,
      body: JsonOrForm(OpenAiEdit, OpenAiEditForm),
      response
    }
  }, async (request, reply) => await answer('edits', request, reply))

  app.post('/images/variations', {
    config: { access, multipart: { files: { image: 'many' } } },
    schema: {
      operationId: 'openai.varyImage',
      tags: ['OpenAI'],
      summary: 'Vary an image as OpenAI\'s API does',
      description: ways,
      headers,
      body: { content: { 'multipart/form-data': { schema: Ref(OpenAiVariationForm) } } },
      response
    },
    preValidation: async request => {
      if (request.isMultipart()) return
      throw new ServiceError('unsupported_media_type', 'This route accepts multipart/form-data.')
    }
  }, async (request, reply) => await answer('variations', request, reply))

  async function answer (
    operation: Operation, request: FastifyRequest, reply: FastifyReply
  ): Promise<unknown> {
    const gone = disconnectSignal(reply)
    const call = readImagesCall(request.body as ImagesRequest)
    reply.hold('waiting')
    keepAnswer(reply)
    const { id, isRepeat } = await submitOnce(operation, call, request)
    // Up to 64 MiB that are not needed while the client waits.
    request.body = undefined
    request.intake?.settle(0)
    // A client with a key of its own repeats the request, and wants this job.
    const isWanted = request.headers['idempotency-key'] !== undefined
    if (request.principal.dropIn.onHangUp === 'cancel' && !isWanted) {
      gone.addEventListener('abort', () => { cancelQuietly(id) })
    }
    reply.headers({ 'x-job-id': id, 'cache-control': 'no-store', ...(isRepeat ? { 'idempotency-replayed': 'true' } : {}) })
    if (call.previews !== null) {
      const kind = operation === 'edits' ? 'image_edit' : 'image_generation'
      return await sendEvents(stream(events({ id, call, kind, gone })), reply)
    }
    const job = jobToAnswer(id, await jobOutcome(id, gone))
    if (job === null) return reply.hijack()
    const linkOf = linksFrom(request)
    return await reply.type('application/json').send(stream(imagesAnswer(media, job, call, linkOf)))
  }

  async function submitOnce (
    operation: Operation, call: ImagesCall, request: FastifyRequest
  ): Promise<{ id: string, isRepeat: boolean }> {
    const { principal: { keyId, kind }, body } = request
    const { 'idempotency-key': key } = request.headers
    const keyed = { owner: keyId ?? kind, key: key === undefined ? undefined : String(key), operation: `openai ${operation}`, body }
    const { answer: { id }, repeated } = await idempotency.once(keyed, newJobId, async (id, begun) => {
      const before = begun ? await submitter.recall(id) : null
      if (before === null) await submit(id, { operation, call, request })
      return { id }
    })
    return { id, isRepeat: repeated }
  }

  async function submit (
    id: string, { operation, call, request }: { operation: Operation, call: ImagesCall, request: FastifyRequest }
  ): Promise<void> {
    const checked = await submitter.check({
      target: targetOf(request),
      given: operation === 'generations' ? await generation(call, request) : await startingFromImage(call, request),
      appType: 'openai',
      source: 'openai',
      priority: 5,
      onMissing: 'refuse',
      onDifference: 'warn',
      keyId: request.principal.keyId,
      context: contextOf(request),
      bulkId: null,
      baseUrl: ownAddress(request),
      ...(call.output === null ? {} : { output: call.output }),
      ...(call.user === null ? {} : { studio: { user: call.user, kind: 'openai' } })
    })
    await submitter.accept(checked, id)
  }

  async function usual ({ checkpoint }: ImagesCall): Promise<Size> {
    return await usualSize(catalogue, checkpoint ?? await selectedCheckpoint(app.registry, app.states))
  }

  async function generation (call: ImagesCall, { body }: FastifyRequest): Promise<Parameters> {
    const { prompt = '' } = body as ImagesRequest
    return parametersOf(prompt, call, call.size ?? await usual(call))
  }

  async function startingFromImage (call: ImagesCall, { body, principal }: FastifyRequest): Promise<Parameters> {
    const sent = body as ImagesRequest & SentPictures
    const start = await pictures.read(sent, principal)
    const { width, height } = await usual(call)
    const size = call.size ?? sizeLike(start.size, width * height)
    return { ...parametersOf(sent.prompt ?? '', call, size), ...startParameters(start, sent) }
  }

  function cancelQuietly (id: string): void {
    store.cancel(id).catch(error => { app.log.debug({ job: id, err: error }, 'not cancelled') })
  }

  async function * events (
    { id, call, kind, gone }: { id: string, call: ImagesCall, kind: StreamKind, gone: AbortSignal }
  ): AsyncGenerator<string> {
    const ended = jobOutcome(id, gone)
    yield * partialImages(ended, { id, call, kind, gone })
    try {
      const job = jobToAnswer(id, await ended)
      if (job !== null) yield * completedEvents(media, job, call, kind)
    } catch (error) {
      if (gone.aborted) return
      app.log.debug({ job: id, err: error }, 'the stream ends without images')
      yield errorEvent(failureOf(error))
    }
  }

  function linksFrom (request: FastifyRequest): (name: string) => string {
    const { PUBLIC_URL } = app.config
    const base = PUBLIC_URL === '' ? ownAddress(request) : withoutTrailing(PUBLIC_URL, '/')
    const expires = Date.now() + linkLifetime
    return name => imageUrls.sign(base, name, expires).replace(`${base}/outputs`, `${base}${resultsPath}`)
  }
}

export default images

/** No proxy may cache or buffer the stream. */
async function sendEvents (body: Readable, reply: FastifyReply): Promise<FastifyReply> {
  return await reply.headers({
    'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store, no-transform', 'x-accel-buffering': 'no'
  }).send(body)
}
