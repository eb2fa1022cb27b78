import type { IncomingHttpHeaders } from 'node:http'
import { readWhole } from '../chunks.ts'
import { withDeadline } from '../deadline.ts'
import type { HttpAnswer, HttpClient, HttpRequest } from './client.ts'

export interface BytesRequest extends Omit<HttpRequest, 'signal'> {
  /** Milliseconds for all of it: name, connection, sending, answer. */
  readonly timeoutMs: number
  /** Largest body of the answer, in bytes. */
  readonly maxBytes: number
  /** Ends it early. */
  readonly signal?: AbortSignal
}

export interface BytesAnswer {
  readonly statusCode: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/**
 * One request with its whole answer.
 * @throws Error with the reason
 */
export async function requestBytes (client: Pick<HttpClient, 'request'>, request: BytesRequest): Promise<BytesAnswer> {
  const { timeoutMs, maxBytes, signal: early, ...rest } = request
  return await withDeadline(timeoutMs, [early], async (signal, deadline) => {
    try {
      const own = { ...credentialsIn(rest.url), ...rest.headers }
      const { statusCode, headers, body } = await client.request({ ...rest, headers: own, signal })
      return { statusCode, headers, body: await readBytes(body, maxBytes) }
    } catch (error) {
      if (deadline.expired()) throw new Error(`it did not answer within ${timeoutMs / 1000} s`, { cause: error })
      throw error
    }
  })
}

/**
 * The body at an address of the settings, anywhere.
 * @throws Error with the reason, also for every status but 200
 */
export async function readConfigured (client: Pick<HttpClient, 'request'>, request: BytesRequest): Promise<Buffer> {
  const { statusCode, body } = await requestBytes(client, request)
  if (statusCode !== 200) throw new Error(`it answered ${statusCode}`)
  return body
}

/** User and password of an address such as `http://user:pass@host/`. */
function credentialsIn ({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}

/** @throws Error if there is more; then the rest is not read */
export async function readBytes (body: HttpAnswer['body'], maxBytes: number): Promise<Buffer> {
  return await readWhole(body, maxBytes, () => new Error(`its answer is longer than ${maxBytes} bytes`))
}

/** A form as the body of a request, with its content type. */
export async function encodeForm (form: FormData): Promise<{ body: Buffer, headers: Record<string, string> }> {
  const encoded = new Response(form)
  const body = Buffer.from(await encoded.arrayBuffer())
  return { body, headers: { 'content-type': encoded.headers.get('content-type') ?? '' } }
}
