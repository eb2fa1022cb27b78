import { withoutTrailing } from '../lib/text.ts'
import { fieldsOf, objectOf, textOf } from '../a1111/json-values.ts'
import { parseJson } from '../json/parse.ts'
import { encodeForm, readConfigured } from '../lib/http/bytes.ts'
import { createHttpClient } from '../lib/http/client.ts'

/** What Florence makes of a picture. */
export interface FlorenceAnswer {
  readonly text: string | null
  readonly image: Buffer | null
}

export interface FlorenceClient {
  /** @throws FlorenceRefusal where asking again would not help, else Error with what went wrong */
  ask (question: FlorenceQuestion, signal: AbortSignal): Promise<FlorenceAnswer>
}

export interface FlorenceQuestion {
  readonly picture: Buffer
  readonly task: string
  readonly mode: string
  readonly prompt: string
}

/** The service said that it cannot. */
export class FlorenceRefusal extends Error {}

const model = 'microsoft/Florence-2-large'
const timeoutMs = 300_000
const mostBytes = 64 * 1024 * 1024

/**
 * A Florence-2 service made with Gradio 4 or later: files are uploaded, each call gives an event, and the event's
 * stream ends with what came of it. Older ones answer the call itself.
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
      maxBytes: mostBytes,
      signal
    })
    return parseJson('The answer of Florence', answer)
  }

  async function get (path: string, signal: AbortSignal): Promise<Buffer> {
    return await readConfigured(http, { url: new URL(`${base}${path}`), timeoutMs, maxBytes: mostBytes, signal })
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

  /** A file of the service itself, wherever its answer says that it is. */
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
