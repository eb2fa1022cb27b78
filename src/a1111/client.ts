import { setMaxListeners } from 'node:events'
import { createSecureContext } from 'node:tls'
import { createHttpClient } from '../lib/http/client.ts'
import {
  type ConnectPolicy, destinationOf, type IdleConnection, openIdleConnection, type PreparedConnection, type TlsTrust
} from '../lib/http/connect.ts'
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
  /** GET of a file such as an image. */
  readBytes (path: string, options?: SmallCallOptions): Promise<Buffer>
  postJson (path: string, body: unknown, options?: SmallCallOptions): Promise<unknown>
  /** Opens a connection for a generation that is about to be sent. Close it if none is. */
  prepare (): PreparedConnection
  /** Runs one generation; `body` is its JSON text. Passes on a sink's error unchanged. */
  generate (mode: GenerationMode, body: string | Buffer, options: GenerationOptions): Promise<GenerationAnswer>
  /** Reads the progress of a task (the `force_task_id` of a request), or of the whole server for null. */
  progress (taskId: string | null, options?: SmallCallOptions): Promise<ServerProgress>
  /** Stops the server's current generation at its next step, ours or not. */
  interrupt (options?: SmallCallOptions): Promise<void>
  /** Removes the checkpoint from the server's GPU memory; the next generation loads it again. */
  unloadCheckpoint (options?: SmallCallOptions): Promise<void>
  /** A connection that ends with the process that listens at the server's address. @throws the error of connecting */
  hold (): Promise<IdleConnection>
  /** The cause of a connection failure, found by a further probe, with a remedy; the same failure if none is found. */
  explain (failure: GenerationFailure): Promise<GenerationFailure>
  /** Ends every call with `client_closed` and every connection. */
  close (): Promise<void>
}

export interface ClientLimits {
  /** Milliseconds to connect; a little less than for a small call, so that the call can report the cause. */
  readonly connectTimeoutMs?: number
  /** Milliseconds for a small call, by default. */
  readonly smallCallTimeoutMs?: number
  /** Largest answer to a small call, in bytes. */
  readonly maxSmallAnswerBytes?: number
  /** Resolves names to the allowed addresses; absent: any address is allowed. */
  readonly resolve?: ConnectPolicy['resolve']
  /** Blocks requests while the server is unreachable or starting; if absent, nothing does. */
  readonly guard?: StartGuard
}

/** Unloading a large checkpoint takes seconds. */
const unloadTimeoutMs = 30_000

/**
 * Enough that an interrupt never waits behind lists, few beside A1111's 40 threads. gradio's uvicorn drops a connection
 * after 5 s without use; we must be first.
 */
const smallCallConnections = { connections: 8, idleMs: 4000 }

/** Makes no call by itself. Throws a TypeError if the address is not a URL. */
export function createA1111Client (address: ServerAddress, limits: ClientLimits = {}): A1111Client {
  const endpoint = endpointOf(address)
  const closing = new AbortController()
  // Every open call listens, and reading an inventory makes a dozen at once.
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
    prepare: () => http.prepare(endpoint.urlOf('/'), endpoint.headers),
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
      return await openIdleConnection(policy, destinationOf(endpoint.urlOf('/')), closing.signal)
    },
    explain: failure => explainFailure(failure, address, policy, limits.guard),
    async close () {
      closing.abort()
      await Promise.allSettled([...running, calls.close()])
    }
  }
}

/** The policy of connections to a server. */
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

/** An intermediate certificate is enough: some servers do not send theirs. */
function trustOf ({ ca, tlsVerify }: ServerAddress): TlsTrust {
  return {
    ...(ca === undefined ? {} : { secureContext: createSecureContext({ ca, allowPartialTrustChain: true }) }),
    ...(tlsVerify === false ? { rejectUnauthorized: false } : {})
  }
}

/** Shorter ones are as likely to be words as secrets. */
const shortestSecret = 4

/** Proxies often echo requests, and their words appear in states and jobs. */
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

/** All texts in a JSON value, including names of fields. */
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
