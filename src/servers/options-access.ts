import type { A1111Client } from '../a1111/client.ts'
import { fieldsOf, type JsonObject } from '../a1111/json-values.ts'
import { GenerationFailure } from '../a1111/types.ts'
import { messageOf } from '../errors.ts'
import type { Log } from '../log.ts'

/** A server's options, as far as it lets us read and change them. */
export interface OptionsAccess {
  /** Null where it does not show them. @throws GenerationFailure with a signal, which work has that needs the server */
  read (signal?: AbortSignal): Promise<JsonObject | null>
  /** Whether the server took it. @throws GenerationFailure `server-down` while it is away or starts */
  change (options: JsonObject, signal: AbortSignal): Promise<boolean>
  /** Whether a generation runs, of whomever: what it overrides looks like everybody's. */
  isBusy (): Promise<boolean>
  /** Why it refused last. */
  why (): string
  /** Whether it refused so lately that it is not asked again yet. */
  isRefused (): boolean
  /** The server is another process now, which may let us. */
  forgetRefusals (): void
}

export interface OptionsAccessDependencies {
  readonly alias: () => string
  readonly client: Pick<A1111Client, 'readJson' | 'postJson' | 'progress'>
  readonly log: Log
}

/** The selected checkpoint among the options. */
export const selected = 'sd_model_checkpoint'
const path = '/sdapi/v1/options'
/** Selecting a checkpoint loads it. */
const selectTimeout = 120_000
/** For how long a server that does not let us read or change its options is not asked again, in milliseconds. */
const refusedFor = 60_000
const awayCodes = new Set(['server_starting', 'connection_refused', 'connection_lost'])

export function createOptionsAccess ({ alias, client, log }: OptionsAccessDependencies): OptionsAccess {
  let readsAgainAt = 0
  let changesAgainAt = 0
  let why = ''

  return {
    async read (signal) {
      if (performance.now() < readsAgainAt) return null
      try {
        return fieldsOf(await client.readJson(path, signal === undefined ? {} : { signal }))
      } catch (error) {
        if (signal !== undefined) throwIfAway(error)
        if (isRefusal(error)) readsAgainAt = performance.now() + refusedFor
        why = messageOf(error)
        return null
      }
    },
    async change (options, signal) {
      if (performance.now() < changesAgainAt) return false
      try {
        await client.postJson(path, options, { signal, ...(selected in options ? { timeoutMs: selectTimeout } : {}) })
        return true
      } catch (error) {
        throwIfAway(error)
        if (isRefusal(error)) changesAgainAt = performance.now() + refusedFor
        why = messageOf(error)
        log.warn({ server: alias(), options: Object.keys(options), err: error }, 'the server rejects changes of its settings')
        return false
      }
    },
    isBusy: async () => await client.progress(null).then(({ busy }) => busy, () => false),
    why: () => why,
    isRefused: () => performance.now() < Math.max(readsAgainAt, changesAgainAt),
    forgetRefusals () { readsAgainAt = changesAgainAt = 0 }
  }
}

function isRefusal (error: unknown): boolean {
  return error instanceof GenerationFailure && error.failureClass !== 'cancelled' && error.failureClass !== 'server-down'
}

/** A server that is gone cannot take the generation either, and what it has for settings then is not known. */
function throwIfAway (error: unknown): void {
  if (!(error instanceof GenerationFailure)) return
  if (error.failureClass === 'cancelled') throw error
  if (error.failureClass !== 'server-down' || !awayCodes.has(error.code)) return
  throw new GenerationFailure('server-down', error.code, error.message, {
    cause: error, mayBeRunning: false, ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs })
  })
}
