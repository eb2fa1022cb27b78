import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { readAnswer } from '../egress/read-answer.ts'

export interface GetOptions {
  readonly headers?: Readonly<Record<string, string>>
  /** Milliseconds for all of it. */
  readonly timeoutMs: number
  /** Largest body, in bytes. */
  readonly maxBytes: number
}

export interface GetAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/**
 * One GET with the whole answer; follows no redirect. Node's own client, as undici 7 can end the process when a peer
 * hangs up under a slow reader.
 * @throws Error with what went wrong
 */
export async function getBytes (url: URL, { headers = {}, timeoutMs, maxBytes }: GetOptions): Promise<GetAnswer> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      send(url, { headers: { ...headers, 'accept-encoding': 'identity' }, signal }, resolve).on('error', reject).end()
    })
    const body = await readAnswer(response, maxBytes)
    return { status: response.statusCode ?? 0, headers: response.headers, body }
  } catch (error) {
    if (signal.aborted) throw new Error(`it did not answer within ${timeoutMs / 1000} s`, { cause: error })
    throw error
  }
}
