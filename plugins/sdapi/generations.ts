import { Readable } from 'node:stream'
import type { TSchema } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { A1111Img2img, A1111Txt2img } from '../../schemas/a1111-generation.ts'
import type { Warning } from '../../schemas/generation-parameters.ts'
import type { DrawingMode } from '../../src/a1111/types.ts'
import { fieldsOf } from '../../src/a1111/json-values.ts'
import type { Job } from '../../src/jobs/job.ts'
import { newJobId } from '../../src/jobs/submit.ts'
import { withDeadline } from '../../src/lib/deadline.ts'
import { blanksUntil, checkImages, generationAnswer } from '../../src/sdapi/answer.ts'
import type { DropIn } from '../../src/sdapi/drop-in.ts'
import { errorOfJob, toA1111Error } from '../../src/sdapi/errors.ts'
import { readGenerationCall, type GenerationCall } from '../../src/sdapi/request.ts'
import { hangUp } from '../core/hang-up.ts'
import { answerMode, callerOfRequest, isProxyClient, sendJson, targetOf } from './call.ts'
import { readAskedWebhook, type AskedWebhook } from './webhook.ts'

export interface GenerationsOptions {
  readonly dropIn: DropIn
  /** Whether the scope stands under `/async`. */
  readonly path: 'plain' | 'async'
}

const noTagger: Warning = {
  code: 'no_tagger',
  message: 'The images get no tags, since no tagger is configured here; an administrator can name one in TAGGER_URL.',
  field: 'meta.auto_tag'
}

const bodies: Readonly<Record<DrawingMode, TSchema>> = { txt2img: A1111Txt2img, img2img: A1111Img2img }

const route = { tags: ['A1111'], consumes: ['application/json'] }

/** POST txt2img and img2img: A1111's own answer when the images are there, or 202 to who does not want to wait. */
const generations: FastifyPluginAsync<GenerationsOptions> = async (app, { dropIn, path }) => {
  const { house, submitter, notices, own, callerJobs, callerTasks, shortIds, pause } = dropIn
  const { config, store, media } = house
  const early = config.SDAPI_EARLY_JOB_ID

  for (const mode of ['txt2img', 'img2img'] as const) {
    app.post(`/${mode}`, {
      config: { access: { scope: 'jobs:write' }, documentedBody: bodies[mode], storesImages: true },
      schema: {
        ...route,
        operationId: `a1111_${mode}`,
        summary: `Generate as A1111's ${mode} does`,
        description: 'Takes A1111\'s request and answers as A1111 does once the images are there. The job\'s id is in ' +
          'X-Job-ID at once. `Prefer: respond-async` or `?async=1` gets 202 with the id instead.'
      }
    }, async (request, reply) => await generate(mode, request, reply))
  }

  async function generate (mode: DrawingMode, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const gone = hangUp(reply)
    const caller = callerOfRequest(request)
    const call = readGenerationCall(mode, request.body, await own.read(caller))
    const asked = readAskedWebhook(request)
    const answer = answerMode(request, {
      byPath: path === 'async', byToken: isProxyClient(request, config), byWebhook: asked.webhook !== null
    })
    if (answer.kind === 'wait' || answer.waitSeconds > 0) reply.hold('waiting')
    const id = await submit(call, asked, request, reply)
    // Up to 64 MiB that nobody needs while the caller waits.
    request.body = undefined
    request.intake?.settle(0)
    if (request.principal.dropIn.onHangUp === 'cancel') gone.addEventListener('abort', () => { cancelQuietly(id) })
    reply.headers({ vary: 'Prefer', 'cache-control': 'no-store' })
    if (answer.kind === 'async') {
      const job = await endedWithin(id, answer.waitSeconds, gone)
      return job === null ? accepted(id, reply) : await answerEnded(job, call, reply)
    }
    if (early) return answerEarly(id, call, gone, reply)
    const job = await notices.ended(id, gone).catch(unlessGone(gone))
    return job === null ? reply.hijack() : await answerEnded(job, call, reply)
  }

  async function submit (
    call: GenerationCall, { webhook, metadata }: AskedWebhook, request: FastifyRequest, reply: FastifyReply
  ): Promise<string> {
    const caller = callerOfRequest(request)
    const autoTag = fieldsOf(fieldsOf(request.body).meta).auto_tag === true
    const checked = await submitter.check({
      target: targetOf(request),
      given: call.given,
      appType: 'a1111',
      source: 'sdapi',
      seeds: 'as PyTorch',
      priority: 5,
      onMissing: config.SDAPI_UNKNOWN_NAMES,
      onDifference: 'warn',
      keyId: request.principal.keyId,
      bulkId: null,
      webhook,
      autoTag,
      warnings: autoTag && config.TAGGER_URL === '' ? [noTagger] : [],
      baseUrl: `${request.protocol}://${request.host}`,
      ...(metadata === undefined ? {} : { metadata })
    })
    const id = newJobId()
    const origin = config.TRACKER_ENABLED ? { shortId: await shortIds.claim(id), caller, ip: request.ip } : null
    const tracked = origin === null ? checked : { ...checked, request: { ...checked.request, dropIn: origin } }
    await submitter.accept(tracked, id)
    // The job is accepted: what only helps its caller to find it must not make that untrue.
    await Promise.all([
      callerJobs.add(caller, id), call.taskId === null ? undefined : callerTasks.note(caller, call.taskId, id)
    ]).catch(error => { request.log.warn({ job: id, err: error }, 'the job is not noted for its caller') })
    if (origin !== null) reply.header('x-job-id', origin.shortId)
    return id
  }

  function cancelQuietly (id: string): void {
    store.cancel(id).catch(error => { app.log.debug({ job: id, err: error }, 'not cancelled') })
  }

  /** Null when it has not ended by then. */
  async function endedWithin (id: string, seconds: number, gone: AbortSignal): Promise<Job | null> {
    if (seconds === 0) return null
    return await withDeadline(seconds * 1000, [gone], async over =>
      await notices.ended(id, over).catch(unlessGone(over)))
  }

  function accepted (id: string, reply: FastifyReply): FastifyReply {
    reply.code(202).headers({ location: `/sdapi/v1/jobs/${id}`, 'preference-applied': 'respond-async' })
    return sendJson(reply, { uuid: id })
  }

  /** The status is still open, so it can say what happened. */
  async function answerEnded (job: Job, call: GenerationCall, reply: FastifyReply): Promise<FastifyReply> {
    if (job.status === 'failed') throw errorOfJob(job)
    await checkImages(media, job)
    return await reply.type('application/json').send(stream(generationAnswer(media, job, call)))
  }

  /** Status and headers go out now, with a blank; what fails from here on is told in the body. */
  function answerEarly (id: string, call: GenerationCall, gone: AbortSignal, reply: FastifyReply): FastifyReply {
    // nginx would keep the headers until the body fills its buffer
    reply.code(200).type('application/json').header('x-accel-buffering', 'no')
    return reply.send(stream(body()))

    async function * body (): AsyncGenerator<string> {
      const ended = notices.ended(id, gone)
      yield * blanksUntil(ended, pause)
      let job: Job
      try {
        job = await ended
        if (job.status === 'failed') throw errorOfJob(job)
        await checkImages(media, job)
      } catch (error) {
        if (!gone.aborted) yield stringifyJson(toA1111Error(error).body)
        return
      }
      yield * generationAnswer(media, job, call)
    }
  }
}

export default generations

/** One piece at a time: a slow reader must not make us hold many. */
function stream (pieces: AsyncGenerator<string>): Readable {
  return Readable.from(pieces, { highWaterMark: 1 })
}

/** Null in place of the error that the caller's own leaving made. */
function unlessGone (signal: AbortSignal): (error: unknown) => null {
  return error => {
    if (signal.aborted) return null
    throw error
  }
}
