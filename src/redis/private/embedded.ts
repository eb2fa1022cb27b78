import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../lib/logging.ts'
import { readOrCreateSecretFile } from '../../lib/secret-file.ts'
import { provideRedisProgram } from './install.ts'
import { identify, isSameProcess, type ProcessIdentity } from './process.ts'
import { adoptServer, launchServer, openServerFiles, relaunchServer, type RunningServer, stopServer, whenServerEnded } from './server.ts'

export interface DirectoryLock {
  release (): Promise<void>
}

/** The holder of a data directory, by its lock file. */
interface Holder extends ProcessIdentity {
  readonly host: string
  readonly token: string
}

/** Milliseconds between two signs of life in the lock file. */
const heartbeat = 1000

/**
 * Makes this process the only one that runs a Redis in a data directory. Takes over the lock of a dead process at once;
 * that of another host or container, whose processes are invisible, when it shows no life.
 * @throws Error with a sentence that names the holding process
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

/** Removes the lock file if its content is unchanged; one that another process placed meanwhile is put back. */
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

/** Content of a readable lock file; an unreadable one holds nothing. */
function parseHolder (text: string): Holder | undefined {
  try {
    const { pid, started, host, token } = JSON.parse(text)
    if (typeof pid !== 'number' || typeof host !== 'string') return undefined
    return { pid, started: String(started), host, token: String(token) }
  } catch {
    return undefined
  }
}

export interface Supervisor {
  /** Ends the watch; resolves with the server that ran last. */
  stop (): Promise<RunningServer>
}

export interface SupervisorOptions {
  readonly server: RunningServer
  /** Starts the server again at the address it had. */
  restart (server: RunningServer, signal: AbortSignal): Promise<RunningServer>
  readonly log: Log
}

/** Milliseconds before the second attempt to start Redis again, doubled for each further one up to the last. */
const pauses = { first: 100, last: 5000 }

/** Starts the private Redis again whenever it ends by itself, for as long as it takes. */
function superviseServer ({ server, restart, log }: SupervisorOptions): Supervisor {
  const stopping = new AbortController()
  const { signal } = stopping
  let current = server

  async function watch (): Promise<void> {
    while (!signal.aborted) {
      await whenServerEnded(current, signal)
      log.warn(`The ${current.description} stopped by itself; starting it again`)
      await startAgain()
      log.info(`Started the ${current.description} again`)
    }
  }

  async function startAgain (): Promise<void> {
    for (let pause = pauses.first; ; pause = Math.min(pause * 2, pauses.last)) {
      try {
        current = await restart(current, signal)
        return
      } catch (error) {
        if (signal.aborted) throw error
        log.error({ err: error }, 'The private Redis could not be started; trying again')
        await sleep(pause, undefined, { signal })
      }
    }
  }

  // Only the end of the watch rejects it.
  const watching = watch().catch(() => {})
  return {
    stop: async () => {
      stopping.abort()
      await watching
      return current
    }
  }
}

export interface EmbeddedRedis {
  /** Understood by ioredis itself and by `connectRedis`; stays the same when Redis is started again. Secret. */
  readonly url: string
  /** Version, address and process id, for people. */
  readonly description: string
  /** Ends Redis after everything is written, and frees the data directory. */
  stop (): Promise<void>
}

export interface EmbeddedRedisOptions {
  /** The setting DATA_DIR; the private Redis keeps its files in the folder `redis` there. */
  dataDirectory: string
  /** The setting REDIS_SERVER; empty: searched in PATH, and installed if that is possible. */
  program?: string
  log: Log
  /** Gives up a running start, which can take long with much data. */
  signal?: AbortSignal
}

/**
 * Starts the private Redis of a data directory, or adopts the one that outlived an earlier process. It is started
 * again when it ends by itself.
 * @throws Error with a sentence for people: directory in use, no Redis to be had, Redis does not start
 */
export async function startEmbeddedRedis (options: EmbeddedRedisOptions): Promise<EmbeddedRedis> {
  const { program, log, signal = new AbortController().signal } = options
  const directory = resolve(options.dataDirectory)
  const lock = await lockDataDirectory(directory, log)
  try {
    const files = await openServerFiles(directory)
    const setup = { files, log, program: await provideRedisProgram(program, sentence => log.info(sentence)) }
    const adopted = await adoptServer({ ...setup, signal })
    const server = adopted ?? await launchServer({ ...setup, signal })
    log.info(`${adopted ? 'Adopted' : 'Started'} the ${server.description}`)
    const supervisor = superviseServer({
      server, log, restart: (last, signal) => relaunchServer(last, { ...setup, signal })
    })
    return {
      url: server.url,
      description: server.description,
      stop: async () => {
        await stopServer(await supervisor.stop(), files)
        await lock.release()
      }
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}
