import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ServerCheckReport, ServerCheckStep } from '../../schemas/server-check.ts'
import { findCheckpoint } from '../a1111/checkpoint-names.ts'
import { createA1111Client } from '../a1111/client.ts'
import { readCheckpoints } from '../a1111/inventory.ts'
import { createRawCalls } from '../a1111/raw-calls.ts'
import type { ServerAddress } from '../a1111/types.ts'
import { messageOf } from '../errors.ts'
import { createTaskControl } from '../jobs/task-control.ts'
import type { Log } from '../log.ts'
import { hasEnded, identify, type ProcessIdentity } from '../redis/process.ts'
import { runCheck } from '../server-check/run-check.ts'
import { usualLimits } from '../server-check/session.ts'
import { isEmpty, nothingToUndo, putBack, type UndoNotes, type UndoRecord } from '../server-check/undo.ts'
import { createServerReach } from '../servers/reach.ts'
import { createServerStarts } from '../servers/start-guard.ts'
import { createLocalStartNotes } from '../servers/start-notes.ts'
import type { ThoroughDependencies, ThoroughOptions } from './doctor-thorough.ts'

const silent = () => {}
const noLog: Log = { trace: silent, debug: silent, info: silent, warn: silent, error: silent }

/** A file in DATA_DIR that says which process checks an address, and what it must put back. */
interface CheckFile {
  readonly process: ProcessIdentity | null
  readonly undo: UndoRecord
}

/**
 * Checks a server that no service knows. What it changes is noted in a file first, so that the next check of the same
 * address puts it back if this process is killed.
 * @returns the report, or why it could not run
 */
export async function checkAddressDirectly (
  address: ServerAddress, options: ThoroughOptions, { config, tell, cancelled }: ThoroughDependencies
): Promise<ServerCheckReport | string> {
  const { resolve } = createServerReach(config.SERVERS_ALLOW)
  const guard = createServerStarts({
    notes: createLocalStartNotes(), waitMs: config.SERVER_START_SECONDS * 1000, resolve, log: noLog
  })
  const client = createA1111Client(address, { resolve, guard })
  const calls = createRawCalls(address, { resolve, guard })
  const name = createHash('sha256').update(address.baseUrl).digest('hex').slice(0, 16)
  const path = join(config.DATA_DIR, `server-check-${name}.json`)
  try {
    await mkdir(config.DATA_DIR, { recursive: true })
    const left = await claim(path)
    if (left === 'running') return 'A check of that address is running already.'
    const control = createTaskControl(client, async () => true)
    if (!isEmpty(left)) {
      tell('A former check of this address was killed; what it changed is put back first.')
      const stuck = await putBack(left, { calls, control, signal: cancelled })
      if (stuck.length > 0) return `Settings of a former check could not be put back: ${stuck.join(', ')}.`
    }
    const checkpoint = options.checkpoint === null ? null : await titleOf(client, options.checkpoint)
    const told = new Set<string>()
    const undo = notesIn(path)
    const { report } = await runCheck({
      id: randomUUID(),
      alias: null,
      baseUrl: address.baseUrl,
      redisVersion: null,
      wishes: { checkpoint, minutes: options.minutes },
      client,
      calls,
      control,
      undo,
      limits: { ...usualLimits, waitMs: 120_000 },
      cancelled,
      lost: new AbortController().signal,
      onSteps: steps => { tellSteps(steps, told, tell) },
      log: noLog
    })
    if (isEmpty(undo.read())) await rm(path, { force: true })
    else tell('Not everything is put back; check this address again once the server answers.')
    return report
  } catch (error) {
    return messageOf(error)
  } finally {
    await client.close()
    await calls.close()
  }
}

/** Tells each step once it is over. */
export function tellSteps (steps: readonly ServerCheckStep[], told: Set<string>, tell: (line: string) => void): void {
  for (const { name, title, state, duration_ms: ms } of steps) {
    if (state === 'waiting' || state === 'running' || told.has(name)) continue
    told.add(name)
    tell(`${title}: ${state === 'not_found_out' ? 'not found out' : state}${ms === null ? '' : `, ${ms} ms`}`)
  }
}

/** Takes the address for this process; gives what a killed one has left there. */
async function claim (path: string): Promise<UndoRecord | 'running'> {
  const own = JSON.stringify({ process: identify(process.pid) ?? null, undo: nothingToUndo } satisfies CheckFile)
  try {
    const file = await open(path, 'wx', 0o600)
    await file.writeFile(own)
    await file.close()
    return nothingToUndo
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  }
  const found = await readFile(path, 'utf8').then(text => JSON.parse(text) as CheckFile).catch(() => null)
  if (found !== null && found.process !== null && !hasEnded(found.process)) return 'running'
  const undo = found?.undo ?? nothingToUndo
  await write(path, undo)
  return undo
}

function notesIn (path: string): UndoNotes {
  let record = nothingToUndo
  return {
    read: () => record,
    async write (next) {
      await write(path, next)
      record = next
    }
  }
}

/** Whole or not at all, whenever this process ends. */
async function write (path: string, undo: UndoRecord): Promise<void> {
  const file: CheckFile = { process: identify(process.pid) ?? null, undo }
  await writeFile(`${path}.new`, JSON.stringify(file), { mode: 0o600, flush: true })
  await rename(`${path}.new`, path)
}

async function titleOf (client: ReturnType<typeof createA1111Client>, wanted: string): Promise<string> {
  const found = findCheckpoint(wanted, { checkpoints: await readCheckpoints(client) })
  if (found === null) throw new Error(`The server has no checkpoint "${wanted}".`)
  return found.title
}
