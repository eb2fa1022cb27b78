import type { IncomingHttpHeaders } from 'node:http'
import { readBeginning } from '../lib/chunks.ts'
import { parsePythonJson } from '../lib/exact-json.ts'
import { createHttpClient } from '../lib/http/client.ts'
import { type ClientLimits, connectPolicyOf } from './client.ts'
import { endpointOf, guardedHttp, limitCall } from './connection.ts'
import { type CallPhase, connectionFailure, deadlinePassed } from './failures.ts'
import type { ServerAddress } from './types.ts'

/** A raw answer, whatever its status. */
export interface RawAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** Undefined if the text is not JSON. */
  readonly json: unknown
  readonly milliseconds: number
}

export interface RawRequest {
  readonly method: 'GET' | 'POST'
  readonly path: string
  /** JSON text. */
  readonly body?: string | Buffer
  readonly timeoutMs: number
  readonly signal?: AbortSignal
  /** Called when the connection is open and the request is being written. */
  readonly onSent?: () => void
}

/** Calls that return raw answers, to find out how a server answers. */
export interface RawCalls {
  /** @throws GenerationFailure if no answer came */
  call (request: RawRequest): Promise<RawAnswer>
  close (): Promise<void>
}

/** Enough for about a hundred images of 64 × 64. */
const longestAnswer = 32 * 1024 * 1024

/** Each call has a connection of its own, since a generation must not be sent twice. */
export function createRawCalls (address: ServerAddress, limits: Pick<ClientLimits, 'resolve' | 'guard'> = {}): RawCalls {
  const endpoint = endpointOf(address)
  const http = guardedHttp(createHttpClient(connectPolicyOf(address, limits)), limits.guard)
  const closing = new AbortController()

  return {
    async call ({ method, path, body, timeoutMs, signal, onSent }) {
      const limit = limitCall(timeoutMs, deadlinePassed, closing.signal, signal)
      let phase: CallPhase = 'connecting'
      const begin = performance.now()
      try {
        const answer = await http.request({
          url: endpoint.urlOf(path),
          method,
          headers: { ...endpoint.headers, ...body === undefined ? {} : { 'content-type': 'application/json' } },
          ...body === undefined ? {} : { body },
          signal: limit.signal
        }, () => {
          phase = 'waiting'
          onSent?.()
        })
        phase = 'answering'
        const text = String(await readBeginning(answer.body, longestAnswer))
        return {
          status: answer.statusCode,
          headers: answer.headers,
          text,
          json: jsonOf(text),
          milliseconds: Math.round(performance.now() - begin)
        }
      } catch (error) {
        throw limit.failure(phase) ?? connectionFailure(error, phase)
      } finally {
        limit.release()
      }
    },
    async close () {
      closing.abort()
      await http.close()
    }
  }
}

function jsonOf (text: string): unknown {
  try {
    return parsePythonJson(text)
  } catch {
    return undefined
  }
}
