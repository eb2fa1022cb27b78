import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import type { PreparedConnection } from './connect.ts'

export interface HttpRequest {
  readonly url: URL
  /** GET by default. */
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  /** A stream is sent as fast as the server takes it. */
  readonly body?: string | Buffer | Readable
  /** Ends the request and its answer, whenever it fires, with its reason. */
  readonly signal: AbortSignal
  /** Milliseconds that the server can be silent, unless our reader is behind; absent: any time. */
  readonly idleMs?: number
  /** From `prepare` for the same server; only for a client whose requests have connections of their own. */
  readonly over?: PreparedConnection
}

/** An answer after its headers. Its body must be read once, with backpressure, or destroyed. */
export interface HttpAnswer {
  readonly statusCode: number
  readonly headers: IncomingHttpHeaders
  readonly body: AsyncIterable<Buffer> & {
    destroy (reason?: Error): unknown
    once (event: 'error', listener: (error: Error) => void): unknown
  }
}

export interface HttpClient {
  /**
   * Resolves with the answer's headers, whatever its status; follows no redirect.
   * @param onConnected called with the server's address when the connection is open and the request is being written;
   * not for a kept connection
   * @throws the signal's reason, the error of `resolve`, or the error of the connection
   */
  request (request: HttpRequest, onConnected?: (address: string) => void): Promise<HttpAnswer>
  /** Opens a connection for a request that will follow. Close it if none does. */
  prepare (url: URL, headers: Readonly<Record<string, string>>): PreparedConnection
  /** Ends all requests and every kept connection. */
  close (): Promise<void>
}

/** A server sent nothing for longer than `idleMs`. */
export class Silence extends Error {
  constructor ({ host }: URL, idleMs: number, options?: ErrorOptions) {
    super(`${host} sent nothing for ${idleMs / 1000} s`, options)
  }
}
