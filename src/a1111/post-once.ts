import { request as requestHttp, type IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Answer } from './answer-body.ts'

export interface PostOptions {
  readonly headers: Readonly<Record<string, string>>
  /** Ends the request and its answer, whenever it fires. */
  readonly signal: AbortSignal
  readonly connectTimeoutMs: number
  /** Called once, when the connection stands and the request is being written. */
  readonly onConnected: () => void
}

/** A dead host is noticed after about this and the kernel's ten probes, a second apart under Node. */
const keepAliveProbeMs = 15_000

/**
 * Posts a body over a connection of its own and resolves with the answer when its headers are in. A generation is
 * not to be sent twice, so it must not meet a kept connection that the server is just closing.
 *
 * Node's own client, not undici: undici 7's parser stops the whole process if a connection ends while its reader is
 * behind (nodejs/undici#5360, mended in 8, which does not run on Node 20), and this reader waits for disks.
 *
 * Rejects with the connection's own error; `ETIMEDOUT` if it does not stand in time.
 */
export function postOnce (url: URL, body: string | Buffer, options: PostOptions): Promise<Answer> {
  const { headers, signal, connectTimeoutMs, onConnected } = options
  const secure = url.protocol === 'https:'
  const request = (secure ? requestHttps : requestHttp)(url, { method: 'POST', headers, agent: false, signal })
  return new Promise<Answer>((resolve, reject) => {
    const connecting = setTimeout(() => {
      request.destroy(Object.assign(new Error('no connection in time'), { code: 'ETIMEDOUT' }))
    }, connectTimeoutMs)
    request.once('socket', socket => {
      socket.setKeepAlive(true, keepAliveProbeMs)
      socket.once(secure ? 'secureConnect' : 'connect', () => {
        clearTimeout(connecting)
        onConnected()
      })
    })
    // stays: after the answer has begun, its stream tells the error too
    request.on('error', reject)
    request.once('close', () => { clearTimeout(connecting) })
    request.once('response', (answer: IncomingMessage) => {
      resolve({ statusCode: answer.statusCode ?? 0, headers: answer.headers, body: answer })
    })
    request.end(body)
  })
}
