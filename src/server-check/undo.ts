import { isDeepStrictEqual } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RawCalls } from '../a1111/raw-calls.ts'
import { objectOf } from '../lib/json-values.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { withDeadline } from '../lib/deadline.ts'
import { stopOrphanedTask, type TaskControl } from '../jobs/interrupt.ts'

/** A setting of the server: its value before, and the value of the check. */
export interface ChangedSetting {
  readonly before: unknown
  readonly set: unknown
}

/**
 * Everything that a check has changed or left at a server. It is recorded before each change, so that another process
 * can restore everything if this one dies.
 */
export interface UndoRecord {
  readonly settings: Readonly<Record<string, ChangedSetting>>
  /** Generations that can be at the server. */
  readonly tasks: ReadonlyArray<{
    readonly id: string
    /** Milliseconds since the epoch. */
    readonly sentAt: number
    /** The mark by which it is recognised if the server cannot tell tasks apart; null if it never was. */
    readonly mark: string | null
  }>
}

export const nothingToUndo: UndoRecord = { settings: {}, tasks: [] }

/** Where the record is stored. */
export interface UndoNotes {
  read (): UndoRecord
  /** Resolves when the record is stored. @throws Error if this process must not change anything any more */
  write (record: UndoRecord): Promise<void>
}

export function isEmpty ({ settings, tasks }: UndoRecord): boolean {
  return tasks.length === 0 && Object.keys(settings).length === 0
}

/** How long an abandoned generation can take to finish, in milliseconds. */
const orphanWait = 60_000
/** Setting a checkpoint loads it before the answer. */
const optionsTimeout = 300_000
const attempts = 3
const pauseBetween = 1000

/**
 * Stops generations that were left at the server, and restores each setting that still has the check's value: a setting
 * that a person changed meanwhile stays.
 * @returns settings that could not be restored
 * @throws GenerationFailure if the server does not answer
 */
export async function putBack (
  record: UndoRecord, { calls, control, signal }: { calls: RawCalls, control: TaskControl, signal: AbortSignal }
): Promise<string[]> {
  for (const { id, sentAt, mark } of record.tasks) {
    await withDeadline(orphanWait, [signal], async late => {
      await stopOrphanedTask(control, id, { sentAt, answer: 'none', mark }, late)
    })
  }
  let left = Object.keys(record.settings)
  for (let attempt = 1; left.length > 0 && attempt <= attempts; attempt++) {
    signal.throwIfAborted()
    if (attempt > 1) await sleep(pauseBetween, undefined, { signal })
    const changed = stillChanged(record, await readOptions(calls, signal))
    left = Object.keys(changed)
    if (left.length === 0) break
    await calls.call({
      method: 'POST', path: '/sdapi/v1/options', body: stringifyJson(changed), timeoutMs: optionsTimeout, signal
    })
    left = Object.keys(stillChanged(record, await readOptions(calls, signal)))
  }
  return left
}

/** Former values of the settings that have the value of the check. */
function stillChanged ({ settings }: UndoRecord, options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(settings)
    .filter(([key, { before, set }]) => isDeepStrictEqual(options[key], set) && !isDeepStrictEqual(before, set))
    .map(([key, { before }]) => [key, before]))
}

/** @throws Error if the server does not report them */
export async function readOptions (calls: RawCalls, signal: AbortSignal): Promise<Readonly<Record<string, unknown>>> {
  const { status, json } = await calls.call({ method: 'GET', path: '/sdapi/v1/options', timeoutMs: 15_000, signal })
  const options = objectOf(json)
  if (status !== 200 || options === null) throw new Error(`The server did not report its settings (status ${status}).`)
  return options
}
