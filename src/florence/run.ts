import { type EgressGuard, EgressRefusal } from '../egress/guard.ts'
import { guardedGet } from '../egress/requests.ts'
import type { Reach } from '../egress/rules.ts'
import { messageOf, ServiceError } from '../lib/errors.ts'
import { encodeForm, readConfigured } from '../lib/http/bytes.ts'
import { createHttpClient } from '../lib/http/client.ts'
import { fieldsOf, objectOf, textOf } from '../lib/json-values.ts'
import { parseJson } from '../lib/json.ts'
import { withoutTrailing } from '../lib/text.ts'
import { bufferSource } from '../media/image-header.ts'
import { checkImageHeader, type ImageLimits } from '../media/images.ts'
import type { MediaStore } from '../media/store.ts'
import type { FlorenceStore, FlorenceTask } from './task.ts'

/** Florence's answer about an image. */
export interface FlorenceAnswer {
  readonly text: string | null
  readonly image: Buffer | null
}

interface FlorenceClient {
  /** @throws FlorenceRefusal if asking again would not help; otherwise Error with the cause */
  ask (question: FlorenceQuestion, signal: AbortSignal): Promise<FlorenceAnswer>
}

export interface FlorenceQuestion {
  readonly picture: Buffer
  readonly task: string
  readonly mode: string
  readonly prompt: string
}

/** The service refused the request. */
class FlorenceRefusal extends Error {}

const model = 'microsoft/Florence-2-large'
const timeoutMs = 300_000
const maxBytes = 64 * 1024 * 1024

/**
 * A Florence-2 service made with Gradio 4 or later: it accepts file uploads, each call returns an event, and the
 * event's stream ends with the result. Older ones answer the call directly.
 */
export function createFlorenceClient (address: URL): FlorenceClient {
  const base = withoutTrailing(address.href, '/')
  const http = createHttpClient({ connectTimeoutMs: 10_000 })

  async function send (
    path: string, body: Buffer, headers: Record<string, string>, signal: AbortSignal
  ): Promise<unknown> {
    const answer = await readConfigured(http, {
      url: new URL(`${base}${path}`),
      method: 'POST',
      body,
      headers: { accept: 'application/json', ...headers },
      timeoutMs,
      maxBytes,
      signal
    })
    return parseJson('The answer of Florence', answer)
  }

  async function get (path: string, signal: AbortSignal): Promise<Buffer> {
    return await readConfigured(http, { url: new URL(`${base}${path}`), timeoutMs, maxBytes, signal })
  }

  async function upload (picture: Buffer, signal: AbortSignal): Promise<string> {
    const form = new FormData()
    form.set('files', new Blob([new Uint8Array(picture)]), 'picture.png')
    const { body, headers } = await encodeForm(form)
    const answer = await send('/upload', body, headers, signal)
    const path = Array.isArray(answer) ? textOf(answer[0]) : null
    if (path === null) throw new Error('Florence did not say where it has put the picture')
    return path
  }

  async function call (name: string, data: readonly unknown[], signal: AbortSignal): Promise<unknown[]> {
    const body = Buffer.from(JSON.stringify({ data }))
    const answer = await send(`/call/${name}`, body, { 'content-type': 'application/json' }, signal)
    const event = textOf(fieldsOf(answer).event_id)
    if (event !== null) {
      return outcomeOf((await get(`/call/${name}/${encodeURIComponent(event)}`, signal)).toString('utf8'))
    }
    const direct = Array.isArray(answer) ? answer as unknown[] : fieldsOf(answer).data
    if (!Array.isArray(direct)) throw new Error('Florence gave no answer that can be read')
    return direct as unknown[]
  }

  /** A file of the service itself, wherever its answer points. */
  async function imageOf (value: unknown, signal: AbortSignal): Promise<Buffer | null> {
    const { path, image } = fieldsOf(value)
    if (objectOf(image) !== null || typeof image === 'string') return await imageOf(image, signal)
    const text = textOf(typeof value === 'string' ? value : path) ?? ''
    const [, encoded] = /^data:image\/[\w.+-]+;base64,(.+)$/s.exec(text) ?? []
    if (encoded !== undefined) return Buffer.from(encoded, 'base64')
    return objectOf(value) === null || text === '' ? null : await get(`/file=${encodeURI(text)}`, signal)
  }

  return {
    async ask ({ picture, task, mode, prompt }, signal) {
      const path = await upload(picture, signal)
      await call('update_task_dropdown', [mode], signal)
      const [said, drawn] = await call('process_image',
        [{ path, meta: { _type: 'gradio.FileData' } }, task, prompt, model], signal)
      return { text: wordsOf(said), image: await imageOf(drawn, signal) }
    }
  }
}

/** The last event of a stream of server-sent events. */
function outcomeOf (stream: string): unknown[] {
  const events = stream.split(/\r?\n\r?\n/).map(block => ({
    name: /^event:(.*)$/m.exec(block)?.[1]?.trim() ?? '', data: /^data:(.*)$/m.exec(block)?.[1]?.trim() ?? ''
  }))
  const failed = events.find(({ name }) => name === 'error')
  if (failed !== undefined) throw new FlorenceRefusal(`Florence could not do it${reasonIn(failed.data)}.`)
  const done = events.findLast(({ name }) => name === 'complete')
  const value = done === undefined ? null : parseJson('The answer of Florence', Buffer.from(done.data))
  if (!Array.isArray(value)) throw new Error('Florence ended without an answer')
  return value as unknown[]
}

function reasonIn (data: string): string {
  return data === '' || data === 'null' ? '' : `: ${data.slice(0, 500)}`
}

function wordsOf (value: unknown): string | null {
  if (typeof value === 'string') return value
  const label = textOf(fieldsOf(value).label)
  return label ?? (value === null || value === undefined ? null : JSON.stringify(value))
}

export interface FlorenceRunnerDependencies {
  readonly store: FlorenceStore
  readonly client: FlorenceClient
  readonly guard: Pick<EgressGuard, 'client'>
  readonly media: Pick<MediaStore, 'createOutputSink' | 'removeOutput'>
  readonly limits: ImageLimits
  readonly reachOf: (keyId: string | null) => Promise<Reach>
  /** Reports the end of a task to its receiver; a repetition has no effect. */
  readonly onFinished: (ended: FlorenceTask) => Promise<void>
}

const fetchDeadline = 30_000

/** Faults that a retry does not fix. */
const finalFaults = [FlorenceRefusal, EgressRefusal, ServiceError]

/**
 * One attempt at a task. Stores the end unless there is a further attempt.
 * @param last whether there is no further attempt
 * @throws Error for a failure that a retry can fix
 */
export async function runFlorenceTask (
  id: string, last: boolean, dependencies: FlorenceRunnerDependencies, closing: AbortSignal
): Promise<void> {
  const { store, media } = dependencies
  if (!await store.move(id, ['pending', 'processing'], 'processing')) return
  const task = await store.find(id)
  if (task === null) return
  try {
    const { text, image } = await answerTo(task, dependencies, closing)
    if (await end(task, { status: 'completed', text, image, problem: null }, dependencies)) return
    // Cancelled meanwhile.
    if (image !== null) await media.removeOutput(image)
  } catch (error) {
    if (closing.aborted || (!last && !finalFaults.some(kind => error instanceof kind))) throw error
    await end(task, { status: 'failed', text: null, image: null, problem: messageOf(error) }, dependencies)
  }
}

/**
 * Reports first: if the process dies between the two steps, another repeats both, and the receiver gets one report. A
 * cancelled task is not reported.
 */
async function end (
  task: FlorenceTask, outcome: Pick<FlorenceTask, 'status' | 'text' | 'image' | 'problem'>,
  { store, onFinished }: FlorenceRunnerDependencies
): Promise<boolean> {
  const { status, ...change } = outcome
  const endedAt = Date.now()
  if ((await store.find(task.id))?.status !== 'processing') return false
  await onFinished({ ...task, ...outcome, endedAt })
  return await store.move(task.id, ['processing'], status, { ...change, endedAt })
}

/** StableQueue fetches the image, not Florence, which could reach internal addresses that clients must not reach. */
async function answerTo (
  { id, keyId, imageUrl, task, mode, prompt, createdAt }: FlorenceTask,
  { guard, limits, client, media, reachOf }: FlorenceRunnerDependencies, signal: AbortSignal
): Promise<Pick<FlorenceTask, 'text' | 'image'>> {
  const picture = await guardedGet(guard, {
    url: new URL(imageUrl), reach: await reachOf(keyId), deadline: fetchDeadline, maxBytes: limits.bytes, signal
  })
  await checkImageHeader(bufferSource(picture), 'imageUrl', limits)
  const { text, image } = await client.ask({ picture, task, mode, prompt }, signal)
  if (image === null) return { text, image: null }
  const sink = await media.createOutputSink(id, 0, createdAt)
  await sink.write(image)
  await sink.end()
  return { text, image: (await sink.finished).name }
}
