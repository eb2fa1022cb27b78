import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { readAnswer } from './read-answer.ts'

export interface ConfiguredCall {
  readonly method: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** Milliseconds for all of it. */
  readonly timeoutMs: number
  /** Largest answer, in bytes. */
  readonly maxBytes: number
  /** Ends it early. */
  readonly signal?: AbortSignal
}

/**
 * One call to an address of the settings, which may be anywhere; never for one that a caller chose. Follows no
 * redirect. Node's own client, as undici 7 can end the process when a peer hangs up under a slow reader.
 * @throws Error that says what went wrong, also for every status but 200
 */
export async function callConfigured (url: URL, call: ConfiguredCall): Promise<Buffer> {
  const { method, headers = {}, body, timeoutMs, maxBytes, signal } = call
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  const inTime = AbortSignal.timeout(timeoutMs)
  const over = signal === undefined ? inTime : AbortSignal.any([inTime, signal])
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      send(url, { method, signal: over, headers: { 'accept-encoding': 'identity', connection: 'close', ...headers } }, resolve)
        .on('error', reject).end(body)
    })
    const answer = await readAnswer(response, maxBytes)
    if (response.statusCode !== 200) throw new Error(`it answered ${response.statusCode}`)
    return answer
  } catch (error) {
    if (inTime.aborted) throw new Error(`it did not answer within ${timeoutMs / 1000} s`, { cause: error })
    throw error
  }
}

/** A form as the body of a call, with its content type. */
export async function encodeForm (form: FormData): Promise<{ body: Buffer, headers: Record<string, string> }> {
  const encoded = new Response(form)
  const body = Buffer.from(await encoded.arrayBuffer())
  return { body, headers: { 'content-type': encoded.headers.get('content-type') ?? '', 'content-length': String(body.length) } }
}
