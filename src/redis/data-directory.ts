import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readOrCreateSecretFile } from '../access/secret-file.ts'
import type { Log } from '../log.ts'
import { identify, isSameProcess, type ProcessIdentity } from './process.ts'

export interface DirectoryLock {
  release (): Promise<void>
}

/** Who holds a data directory, as its lock file says. */
interface Holder extends ProcessIdentity {
  readonly host: string
  readonly token: string
}

/** Milliseconds between two signs of life in the lock file. */
const heartbeat = 1000

/**
 * Makes this process the only one that runs a Redis in a data directory. The lock of a process that is gone is
 * taken over at once; that of another host or container, whose processes cannot be seen, when it shows no life.
 * @throws Error with a sentence that names the process that holds it
 */
export async function lockDataDirectory (directory: string, log: Log): Promise<DirectoryLock> {
  await mkdir(directory, { recursive: true, mode: 0o750 })
  const path = join(directory, 'lock')
  const mine = JSON.stringify({ ...identify(process.pid), host: hostname(), token: randomUUID() })
  for (;;) {
    const { value, created } = await readOrCreateSecretFile(path, () => mine)
    if (created) return hold(path, mine)
    const holder = parseHolder(value)
    if (holder !== undefined && await isAlive(path, holder, log)) throw new Error(refusal(directory, holder))
    await discard(path, value)
  }
}

function hold (path: string, mine: string): DirectoryLock {
  const timer = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {})
  }, heartbeat)
  timer.unref()
  return {
    release: async () => {
      clearInterval(timer)
      await discard(path, mine)
    }
  }
}

async function isAlive (path: string, holder: Holder, log: Log): Promise<boolean> {
  if (holder.host === hostname()) return isSameProcess(holder)
  log.info(`The data directory was used on ${holder.host}; looking whether it still is`)
  const before = await lastSign(path)
  await sleep(2.5 * heartbeat)
  return await lastSign(path) !== before
}

async function lastSign (path: string): Promise<number> {
  return stat(path).then(found => found.mtimeMs, () => 0)
}

/** Removes the lock file if it still says what it said; one that somebody else placed meanwhile is put back. */
async function discard (path: string, expected: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch {
    return
  }
  const found = (await readFile(aside, 'utf8')).trim()
  if (found !== expected) await link(aside, path).catch(() => {})
  await rm(aside, { force: true })
}

function refusal (directory: string, { pid, host }: Holder): string {
  const where = host === hostname() ? '' : ` on ${host}`
  return `DATA_DIR ${directory} is in use by the StableQueue with process id ${pid}${where}. ` +
    'Stop that one first, or set another DATA_DIR for this one.'
}

/** What a readable lock file says; one that cannot be read holds nothing. */
function parseHolder (text: string): Holder | undefined {
  try {
    const { pid, started, host, token } = JSON.parse(text)
    if (typeof pid !== 'number' || typeof host !== 'string') return undefined
    return { pid, started: String(started), host, token: String(token) }
  } catch {
    return undefined
  }
}
