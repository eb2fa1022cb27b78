import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { withDeadline } from '../../lib/deadline.ts'

/** A process, distinguished from a later one that happens to get the same number. */
export interface ProcessIdentity {
  readonly pid: number
  /** When it started, in whatever form the system has; only ever compared. */
  readonly started: string
}

/** Milliseconds between two looks at a process that is not our child. */
const lookInterval = 100

/** The identity of a running process; undefined if there is none. */
export function identify (pid: number): ProcessIdentity | undefined {
  if (!isRunning(pid)) return undefined
  return { pid, started: readStat(pid)?.started ?? askPs(pid) }
}

/** True while exactly this process runs. */
export function isSameProcess ({ pid, started }: ProcessIdentity): boolean {
  return identify(pid)?.started === started
}

/**
 * True only if it is certain that exactly this process runs no more. False too if that is unknown, as on systems
 * without /proc or with hidden processes of other users.
 */
export function hasEnded ({ pid, started }: ProcessIdentity): boolean {
  const stat = readStat(pid)
  if (stat !== undefined) return stat.state === 'Z' || stat.started !== started
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH'
  }
}

/** True while a process with this number runs; a zombie does not. */
export function isRunning (pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it runs for another user.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
  return readStat(pid)?.state !== 'Z'
}

/**
 * Resolves when the process is gone.
 * @throws AbortError when the signal ends the watch first
 */
export async function whenEnded (pid: number, signal: AbortSignal): Promise<void> {
  while (isRunning(pid)) await sleep(lookInterval, undefined, { signal, ref: false })
}

/**
 * Ends a process: asks with SIGTERM, insists with SIGKILL.
 * @param patience milliseconds between the two
 */
export async function endProcess (pid: number, patience: number): Promise<void> {
  if (!isRunning(pid)) return
  process.kill(pid, 'SIGTERM')
  await withDeadline(patience, [], async signal => {
    while (isRunning(pid) && !signal.aborted) await sleep(10)
  })
  if (isRunning(pid)) process.kill(pid, 'SIGKILL')
  while (isRunning(pid)) await sleep(10)
}

/** State and start of a process as Linux reports them, proc(5); undefined elsewhere. */
function readStat (pid: number): { state: string, started: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name before the last parenthesis can hold anything; state is field 3, start time field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0] ?? '', started: fields[19] ?? '' }
  } catch {
    return undefined
  }
}

function askPs (pid: number): string {
  return spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).stdout?.trim() ?? ''
}
