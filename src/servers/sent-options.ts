import type { Warning } from '../../schemas/generation-parameters.ts'
import type { SettingMark } from '../a1111/setting-marks.ts'
import { GenerationFailure } from '../a1111/types.ts'
import { stringifyJson } from '../lib/exact-json.ts'

/** What a job wants of the options of its server. */
export interface WantedOptions {
  /** Its own settings, by the server's names. */
  readonly settings: Readonly<Record<string, unknown>>
  /** Title of its checkpoint; null: the one that people selected at the server. */
  readonly checkpoint: string | null
  /** Settings that its scripts may override by themselves. */
  readonly touched: readonly string[]
  /** Whether it changes checkpoints by itself, as hires fix, the refiner and scripts do. */
  readonly switches: boolean
}

/** How the options go with a request. */
export interface SentOptions {
  readonly settings: Readonly<Record<string, unknown>>
  readonly checkpoint: string | null
  readonly restore: boolean
  readonly warnings: readonly Warning[]
}

/** `answered`: the server is done with it. `unknown`: it may still run. `unsent`: it never got there. */
export type GenerationEnd = 'answered' | 'unknown' | 'unsent'

/** What a failed call says of the generation. */
export function endOf (error: unknown, wasSent: boolean): GenerationEnd {
  if (!wasSent) return 'unsent'
  const isAnswered = error instanceof GenerationFailure && !error.mayBeRunning &&
    ['request', 'passing', 'out-of-memory', 'bad-answer'].includes(error.failureClass)
  return isAnswered ? 'answered' : 'unknown'
}

/** A request, as JSON text, with its options. Images in it can be large, so it is put into words only once. */
export function withOptions (request: string, { settings, checkpoint, restore }: SentOptions): string {
  const overrides = { ...settings, ...(checkpoint === null ? {} : { sd_model_checkpoint: checkpoint }) }
  if (Object.keys(overrides).length === 0) return request
  const fields = stringifyJson({ override_settings: overrides, override_settings_restore_afterwards: restore })
  return `${request.slice(0, -1)},${fields.slice(1)}`
}

/** @param settings whether the server shows them, so that it is known what the setting was */
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

/** @param origin whether another job has left it there */
export function unaskedSetting ({ label, setting, value }: SettingMark, origin: 'left' | 'unknown'): Warning {
  const told = `The server used ${label}: ${String(value)}, which this job did not request`
  return {
    code: 'unasked_setting',
    message: origin === 'left' ? `${told}; another job had set it. The next jobs are sent without it.` : `${told}.`,
    field: `override_settings.${setting}`
  }
}
