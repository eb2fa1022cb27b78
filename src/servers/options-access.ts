import type { Warning } from '../../schemas/generation-parameters.ts'
import type { A1111Client } from '../a1111/client.ts'
import type { SettingMark } from '../a1111/infotext-parameters.ts'
import { GenerationFailure } from '../a1111/types.ts'
import { messageOf } from '../lib/errors.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import type { IdleConnection } from '../lib/http/connect.ts'
import { fieldsOf, type JsonObject } from '../lib/json-values.ts'
import type { Log } from '../lib/logging.ts'

/** A server's options, if it lets us read and change them. */
export interface OptionsAccess {
  /**
   * Null if it does not show them. @throws GenerationFailure if called with a signal, as by work that needs the server
   */
  read (signal?: AbortSignal): Promise<JsonObject | null>
  /** Whether the server accepted it. @throws GenerationFailure `server-down` while it is away or starts */
  change (options: JsonObject, signal: AbortSignal): Promise<boolean>
  /** Whether any client's generation runs: its overrides look like the server's own settings. */
  isBusy (): Promise<boolean>
  /** Why it last refused. */
  why (): string
  /** Whether it refused so recently that it is not asked again yet. */
  isRefused (): boolean
  /** The server is another process now, which can permit it. */
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
/** How long not to ask a server again that does not let us read or change its options, in milliseconds. */
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

/** A server that is gone cannot accept the generation either, and its later settings are unknown. */
function throwIfAway (error: unknown): void {
  if (!(error instanceof GenerationFailure)) return
  if (error.failureClass === 'cancelled') throw error
  if (error.failureClass !== 'server-down' || !awayCodes.has(error.code)) return
  throw new GenerationFailure('server-down', error.code, error.message, {
    cause: error, mayBeRunning: false, ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs })
  })
}

/**
 * An idle connection: it breaks with the server's process, so that even a very short restart is noticed. A proxy in
 * between can break it as well, which then looks like a restart.
 */
export interface ProcessConnection {
  /** Whether it has been open since it was last renewed. */
  isUnbroken (): boolean
  /** Reconnects if it is broken; never throws because of the server. */
  renew (): Promise<void>
  close (): void
}

export function createProcessConnection (client: Pick<A1111Client, 'hold'>): ProcessConnection {
  let held: IdleConnection | null = null
  let closed = false
  return {
    isUnbroken: () => held?.isOpen() === true,
    async renew () {
      if (held?.isOpen() === true || closed) return
      held = await client.hold().catch(() => null)
      if (closed) held?.close()
    },
    close () {
      closed = true
      held?.close()
    }
  }
}

/** A job's requirements for the options of its server. */
export interface WantedOptions {
  /** Its own settings, by the server's names. */
  readonly settings: Readonly<Record<string, unknown>>
  /** Title of its checkpoint; null for the one that people selected at the server. */
  readonly checkpoint: string | null
  /** Settings that its scripts can override by themselves. */
  readonly touched: readonly string[]
  /** Whether it changes checkpoints by itself, like hires fix, the refiner and scripts. */
  readonly switches: boolean
  /** Whether it has several iterations: A1111 looks at the selection before each. */
  readonly iterates: boolean
}

/** The options that are sent with a request. */
export interface SentOptions {
  readonly settings: Readonly<Record<string, unknown>>
  readonly checkpoint: string | null
  readonly restore: boolean
  readonly warnings: readonly Warning[]
}

/** `answered`: the server is done with it. `unknown`: it can still run. `unsent`: it never reached the server. */
export type GenerationEnd = 'answered' | 'unknown' | 'unsent'

/** The end of a generation, by its failed call. */
export function endOf (error: unknown, wasSent: boolean): GenerationEnd {
  if (!wasSent) return 'unsent'
  const isAnswered = error instanceof GenerationFailure && !error.mayBeRunning &&
    ['request', 'passing', 'out-of-memory', 'bad-answer'].includes(error.failureClass)
  return isAnswered ? 'answered' : 'unknown'
}

/** A request, as JSON text, with its options. Its images can be large, so it is serialised only once. */
export function withOptions (request: string, { settings, checkpoint, restore }: SentOptions): string {
  const overrides = { ...settings, ...(checkpoint === null ? {} : { sd_model_checkpoint: checkpoint }) }
  if (Object.keys(overrides).length === 0) return request
  const fields = stringifyJson({ override_settings: overrides, override_settings_restore_afterwards: restore })
  return `${request.slice(0, -1)},${fields.slice(1)}`
}

/** @param settings whether the server shows its settings, so that the previous value is known */
export function settingStays (name: string, why: string, settings: 'shown' | 'hidden'): Warning {
  const [cannot, next] = settings === 'shown'
    ? ['changed', 'The next jobs are sent with what it was before.']
    : ['read', 'Later jobs that do not name it can get it.']
  return {
    code: 'setting_stays',
    message: `The server possibly keeps ${name} as this job sets it, also for people at its own page, because its settings ` +
      `cannot be ${cannot}: ${why} ${next}`,
    field: `override_settings.${name}`
  }
}

/** @param origin whether another job left it there */
export function unaskedSetting ({ label, setting, value }: SettingMark, origin: 'left' | 'unknown'): Warning {
  const message = `The server used ${label}: ${String(value)}, which this job did not request`
  return {
    code: 'unasked_setting',
    message: origin === 'left' ? `${message}; another job had set it. The next jobs are sent without it.` : `${message}.`,
    field: `override_settings.${setting}`
  }
}
