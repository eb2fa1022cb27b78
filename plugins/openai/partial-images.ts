import type { FastifyInstance } from 'fastify'
import { anySignal } from '../../src/lib/deadline.ts'
import { encodeForm, exactForm } from '../../src/media/encode-form.ts'
import { partialEvent, type StreamKind } from '../../src/openai/answer.ts'
import type { ImagesCall } from '../../src/openai/request.ts'

export interface StreamedJob {
  readonly id: string
  readonly call: ImagesCall
  readonly kind: StreamKind
  /** Fires when the client disconnects. */
  readonly gone: AbortSignal
}

/** Proxies drop connections that are silent for a minute, some sooner. */
const silenceMs = 15_000
const stillHere = ': still here\n\n'

type Services = Pick<FastifyInstance, 'previews' | 'eventBus' | 'jobStore' | 'pause'>

/** The stream of a job until its end: previews spread over its progress, and comments in between. */
export function createPartialImages ({ previews, eventBus, jobStore: store, pause }: Services) {
  /** The next preview, unless it comes too early in the job: the first ones of a generation are noise. */
  async function next ({ id, call, kind }: StreamedJob, index: number): Promise<string | null> {
    const wanted = call.previews ?? 0
    const job = await store.find(id)
    const { fraction = 1 } = job?.progress ?? {}
    if (job?.status !== 'processing' || fraction < (index + 1) / (wanted + 2)) return null
    const shown = await previews.see(id, AbortSignal.abort())
    if (shown === null) return null
    const { width, height } = job.submission.parameters
    const format = call.output?.format ?? 'png'
    return partialEvent(await encodeForm(shown.jpeg, exactForm({ format })), index, {
      kind,
      traits: { background: 'opaque', output_format: format, quality: call.quality, size: `${width ?? 0}x${height ?? 0}` }
    })
  }

  return async function * partialImages (ended: Promise<unknown>, job: StreamedJob): AsyncGenerator<string> {
    const over = new AbortController()
    const end = () => { over.abort() }
    ended.then(end, end)
    const { signal, clear } = anySignal(job.gone, over.signal)
    const wanted = job.call.previews ?? 0
    let isNew = false
    let wake = () => {}
    const forget = eventBus.listen({
      onEvent ({ jobId, kind }) {
        if (jobId !== job.id || kind !== 'preview') return
        isNew = true
        wake()
      },
      onGap () {}
    })
    if (wanted > 0) previews.watch(job.id, signal)
    let sent = 0
    try {
      yield stillHere
      while (!signal.aborted) {
        const stop = new AbortController()
        const { signal: either, clear: forgetEither } = anySignal(signal, stop.signal)
        const news = new Promise<'news'>(resolve => {
          wake = () => { resolve('news') }
          if (isNew) wake()
        })
        const silence = pause(silenceMs, either).then(() => 'silence' as const)
        const what = await Promise.race([news, silence])
        stop.abort()
        forgetEither()
        if (signal.aborted) return
        if (what === 'silence') yield stillHere
        isNew = false
        const event = sent < wanted ? await next(job, sent).catch(() => null) : null
        if (event === null) continue
        sent++
        yield event
      }
    } finally {
      forget()
      clear()
    }
  }
}
