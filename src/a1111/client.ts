import { setMaxListeners } from 'node:events'
import { createSecureContext } from 'node:tls'
import { createHttpClient } from '../lib/http/client.ts'
import { type ConnectPolicy, openConnection, type TlsTrust } from '../lib/http/connect.ts'
import { endpointOf, guardedHttp, type StartGuard } from './connection.ts'
import { explainFailure } from './diagnose.ts'
import { callGeneration, type GenerationOptions } from './generation-call.ts'
import { createProgressReader } from './progress.ts'
import { createSmallCalls, type SmallCallOptions, type SmallCalls } from './small-calls.ts'
import {
  type GenerationAnswer, GenerationFailure, type GenerationMode, type ServerAddress, type ServerProgress
} from './types.ts'

/** How this service talks to one server. Everything throws GenerationFailure. */
export interface A1111Client {
  /** GET a path such as `/sdapi/v1/options`; the answer, parsed. */
  readJson (path: string, options?: SmallCallOptions): Promise<unknown>
  /** GET of a file such as a picture. */
  readBytes (path: string, options?: SmallCallOptions): Promise<Buffer>
  postJson (path: string, body: unknown, options?: SmallCallOptions): Promise<unknown>
  /** Runs one generation; `body` is its JSON text. Whatever a sink throws comes out unchanged. */
  generate (mode: GenerationMode, body: string | Buffer, options: GenerationOptions): Promise<GenerationAnswer>
  /** One look at a task (the `force_task_id` of a request), or at the whole server for null. */
  progress (taskId: string | null, options?: SmallCallOptions): Promise<ServerProgress>
  /** Ends at its next step whatever runs at the server, be it ours or not. */
  interrupt (options?: SmallCallOptions): Promise<void>
  /** Takes the checkpoint out of the server's GPU memory; the next generation loads it again. */
  unloadCheckpoint (options?: SmallCallOptions): Promise<void>
  /** Connects and says nothing. @throws the error of the connection */
  hold (): Promise<HeldConnection>
  /** What a further look finds behind a failure of the connection, with what helps; the same failure where nothing. */
  explain (failure: GenerationFailure): Promise<GenerationFailure>
  /** Ends every call with `client_closed` and every connection. */
  close (): Promise<void>
}

/** A connection that stands for as long as what listens at the server's address. */
export interface HeldConnection {
  stands (): boolean
  close (): void
}

export interface ClientLimits {
  /** Milliseconds for a connection to stand; a little less than a small call may take, so that it can say why. */
  readonly connectTimeoutMs?: number
  /** Milliseconds for a small call, unless it says otherwise. */
  readonly smallCallTimeoutMs?: number
  /** Largest answer to a small call, in bytes. */
  readonly maxSmallAnswerBytes?: number
  /** Looks up names and says which addresses may be connected to; absent: any. */
  readonly resolve?: ConnectPolicy['resolve']
  /** Keeps requests away while the server is out of reach or starts; absent: nothing does. */
  readonly guard?: StartGuard
}

/** Moving a large checkpoint out takes seconds. */
const unloadTimeoutMs = 30_000

/**
 * Enough that an interrupt never waits behind lists, few beside A1111's 40 threads. gradio's uvicorn drops a connection
 * after 5 s without use; we must be first.
 */
const smallCallConnections = { connections: 8, idleMs: 4000 }

/** Makes no call by itself. Throws a TypeError if the address is no URL. */
export function createA1111Client (address: ServerAddress, limits: ClientLimits = {}): A1111Client {
  const endpoint = endpointOf(address)
  const closing = new AbortController()
  // Every call under way listens, and reading an inventory makes a dozen at once.
  setMaxListeners(0, closing.signal)
  const running = new Set<Promise<GenerationAnswer>>()
  const policy = connectPolicyOf(address, limits)
  const http = guardedHttp(createHttpClient(policy), limits.guard)
  const keeping = guardedHttp(createHttpClient({ ...policy, keep: smallCallConnections }), limits.guard)
  const calls = withoutSecrets(address, createSmallCalls(endpoint, keeping, {
    timeoutMs: limits.smallCallTimeoutMs ?? 5000,
    maxAnswerBytes: limits.maxSmallAnswerBytes ?? 16 * 1024 * 1024
  }, closing.signal))

  return {
    readJson: calls.get,
    readBytes: calls.bytes,
    postJson: calls.post,
    progress: createProgressReader(calls),
    generate (mode, body, options) {
      const generation = callGeneration(endpoint, mode, body, options, { http, closed: closing.signal })
        .catch(error => { throw withoutSecret(address, error) })
        .finally(() => running.delete(generation))
      running.add(generation)
      return generation
    },
    async interrupt (options) {
      await calls.post('/sdapi/v1/interrupt', {}, options)
    },
    async unloadCheckpoint (options) {
      await calls.post('/sdapi/v1/unload-checkpoint', {}, { timeoutMs: unloadTimeoutMs, ...options })
    },
    async hold () {
      const { hostname, port, protocol } = endpoint.urlOf('/')
      const destination = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || (protocol === 'https:' ? 443 : 80) }
      const socket = await openConnection(policy, { destination, secure: false, servername: hostname }, closing.signal)
      const end = () => { socket.destroy() }
      closing.signal.addEventListener('abort', end, { once: true })
      socket.once('close', () => { closing.signal.removeEventListener('abort', end) })
      // without a reader its end would not be heard
      socket.resume().unref()
      return { stands: () => !socket.destroyed && socket.readable, close: end }
    },
    explain: failure => explainFailure(failure, address, policy, limits.guard),
    async close () {
      closing.abort()
      await Promise.allSettled([...running, calls.close()])
    }
  }
}

/** How connections to a server are made. */
export function connectPolicyOf (
  address: ServerAddress,
  { connectTimeoutMs = 4500, resolve, guard }: Pick<ClientLimits, 'connectTimeoutMs' | 'resolve' | 'guard'> = {}
): ConnectPolicy {
  return {
    connectTimeoutMs,
    tls: trustOf(address),
    ...resolve === undefined ? {} : { resolve },
    ...guard === undefined ? {} : { admit: guard.admit }
  }
}

/** An intermediate certificate will do too: some servers do not send theirs. */
function trustOf ({ ca, tlsVerify }: ServerAddress): TlsTrust {
  return {
    ...(ca === undefined ? {} : { secureContext: createSecureContext({ ca, allowPartialTrustChain: true }) }),
    ...(tlsVerify === false ? { rejectUnauthorized: false } : {})
  }
}

/** Shorter ones are words as likely as secrets. */
const shortestSecret = 4

/** Proxies like to echo what they got, and their words end up in states and jobs. */
function withoutSecret (address: ServerAddress, error: unknown): unknown {
  if (!(error instanceof GenerationFailure)) return error
  const { authorization } = endpointOf(address).headers
  const secrets = [
    address.password, address.bearer, ...Object.values(address.headers ?? {}), authorization?.replace(/^Basic /, '')
  ].filter(secret => secret !== undefined && secret.length >= shortestSecret)
  const message = secrets.reduce<string>((text, secret) => text.replaceAll(secret ?? '', '***'), error.message)
  const answer = textsWithin(error.answer?.body).some(text => secrets.some(secret => text.includes(secret ?? '')))
    ? null
    : error.answer
  if (message === error.message && answer === error.answer) return error
  const { failureClass, code, cause, mayBeRunning, isFinal, retryAfterMs } = error
  return new GenerationFailure(failureClass, code, message, { cause, mayBeRunning, isFinal, retryAfterMs, answer })
}

/** All texts in a JSON value, names of fields among them. */
function textsWithin (value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) => [name, ...textsWithin(inner)])
}

function withoutSecrets (address: ServerAddress, calls: SmallCalls): SmallCalls {
  const clean = async <Value> (call: Promise<Value>) =>
    await call.catch((error: unknown) => { throw withoutSecret(address, error) })
  return {
    get: async (path, options) => await clean(calls.get(path, options)),
    post: async (path, body, options) => await clean(calls.post(path, body, options)),
    bytes: async (path, options) => await clean(calls.bytes(path, options)),
    close: calls.close
  }
}
