import { spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chmod, type FileHandle, mkdir, open, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { anySignal } from '../../lib/deadline.ts'
import { messageOf } from '../../lib/errors.ts'
import type { Log } from '../../lib/logging.ts'
import { parseRedisAddress } from '../address.ts'
import { checkRedis, parseInfo } from '../check.ts'
import { connectionOptions, whenReady } from '../connections.ts'
import { endProcess, identify, isRunning, isSameProcess, type ProcessIdentity, whenEnded } from './process.ts'

/** A port of this machine's loopback address that was free just now. */
export async function findFreePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Where the private Redis listens. */
type ServerAddress = { readonly path: string } | { readonly port: number }

/** Facts by which a later start finds the private Redis of an earlier one. */
interface ServerRecord {
  readonly process: ProcessIdentity
  readonly address: ServerAddress
  readonly password: string
}

/** The files of the private Redis, in a folder that only its owner can enter. */
interface ServerFiles {
  /** Without symbolic links, as Redis itself names it. */
  readonly folder: string
  readonly socket: string
  readonly configPath: string
  writeConfig (address: ServerAddress, password: string): Promise<void>
  readRecord (): Promise<ServerRecord | undefined>
  writeRecord (record: ServerRecord): Promise<void>
  removeRecord (): Promise<void>
  /** The log to append to; begins again when it has grown large. */
  openLog (): Promise<FileHandle>
  /** The last lines of the log, joined. */
  readLogEnd (): Promise<string>
}

/** Bytes after which the log of the private Redis begins again. */
const largeLog = 4 * 1024 * 1024
const recordName = 'server.json'

export async function openServerFiles (dataDirectory: string): Promise<ServerFiles> {
  await mkdir(join(dataDirectory, 'redis'), { recursive: true, mode: 0o700 })
  const folder = await realpath(join(dataDirectory, 'redis'))
  await chmod(folder, 0o700)
  // Redis would make it readable for everyone. Redis itself reports faults of it.
  await mkdir(join(folder, 'appendonlydir'), { mode: 0o750 }).catch(() => {})
  const socket = join(folder, 'redis.sock')
  const configPath = join(folder, 'redis.conf')
  const recordPath = join(folder, recordName)
  const logPath = join(folder, 'redis.log')
  return {
    folder,
    socket,
    configPath,
    writeConfig: (address, password) => replaceFile(configPath, renderConfig(folder, address, password)),
    readRecord: () => readServerRecord(dataDirectory),
    writeRecord: record => replaceFile(recordPath, JSON.stringify(record)),
    removeRecord: () => rm(recordPath, { force: true }),
    openLog: async () => {
      const log = await open(logPath, 'a', 0o600)
      if ((await log.stat()).size > largeLog) await log.truncate()
      return log
    },
    readLogEnd: async () => (await readFile(logPath, 'utf8').catch(() => '')).trim().split('\n').slice(-3).join(' / ')
  }
}

/** State of the last private Redis in a data directory; its process can be dead. */
export async function readServerRecord (dataDirectory: string): Promise<ServerRecord | undefined> {
  return parseRecord(await readFile(join(dataDirectory, 'redis', recordName), 'utf8').catch(() => ''))
}

/**
 * The settings that keep every acknowledged write: an append-only file that is on the disk before Redis answers,
 * no eviction, and no snapshots, which would only repeat it.
 */
export function renderConfig (folder: string, address: ServerAddress, password: string): string {
  const listen = 'path' in address
    ? ['port 0', `unixsocket ${quote(address.path)}`, 'unixsocketperm 700']
    : ['bind 127.0.0.1', `port ${address.port}`]
  return [
    ...listen,
    `requirepass ${quote(password)}`,
    `dir ${quote(folder)}`,
    'appendonly yes',
    'appendfsync always',
    'save ""',
    'maxmemory-policy noeviction',
    // Keeps job records compact although some of their fields are long; finished jobs take a third less memory.
    'hash-max-listpack-value 4096',
    'daemonize no',
    ''
  ].join('\n')
}

/** A word of a Redis configuration file; its rules for quotes and backslashes are those of JSON. */
function quote (text: string): string {
  return JSON.stringify(text)
}

/** Puts a whole file in place that only its owner can read. */
async function replaceFile (path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, text, { mode: 0o600, flag: 'wx' })
  await rename(draft, path)
}

function parseRecord (text: string): ServerRecord | undefined {
  try {
    const { process, address, password } = JSON.parse(text)
    if (typeof process?.pid !== 'number' || typeof password !== 'string') return undefined
    return { process, address, password }
  } catch {
    return undefined
  }
}

/** The private Redis while it runs. */
export interface RunningServer {
  readonly record: ServerRecord
  readonly url: string
  readonly description: string
}

/** Arguments of every start of the private Redis. */
export interface ServerSetup {
  readonly files: ServerFiles
  /** Absolute path of redis-server or valkey-server. */
  readonly program: string
  readonly log: Log
  /** Gives up a start that is under way. */
  readonly signal: AbortSignal
}

/** Bytes of a socket's path that every system takes: 103 on macOS, 107 on Linux. */
const longestSocketPath = 103
/** Milliseconds for Redis to write and exit before it is killed. */
const stopPatience = 10_000
/** Milliseconds from the end of a connection until it is checked whether Redis ended. */
const afterConnection = 100
/** Milliseconds between two log lines while Redis reads a large data set. */
const reminderInterval = 10_000

/**
 * Starts Redis on a socket, or on a free loopback port if a socket is impossible.
 * @throws Error with a sentence that ends in Redis's log
 */
export async function launchServer (setup: ServerSetup): Promise<RunningServer> {
  const password = randomBytes(32).toString('hex')
  const { socket } = setup.files
  if (Buffer.byteLength(socket) <= longestSocketPath) {
    try {
      return await startAt({ path: socket }, password, setup)
    } catch (error) {
      if (setup.signal.aborted) throw error
      setup.log.warn({ err: error }, 'Redis could not be started on a socket; trying a loopback port')
    }
  }
  return startAt({ port: await findFreePort() }, password, setup)
}

/** Starts Redis again at its former address, so that its clients find it. */
export function relaunchServer ({ record }: RunningServer, setup: ServerSetup): Promise<RunningServer> {
  return startAt(record.address, record.password, setup)
}

/**
 * The private Redis of an earlier process that did not stop it; undefined if there is none.
 * @throws Error if another program runs in its place
 */
export async function adoptServer (setup: Omit<ServerSetup, 'program'>): Promise<RunningServer | undefined> {
  const record = await setup.files.readRecord()
  if (record === undefined || !isSameProcess(record.process)) return undefined
  try {
    return await meet(record, setup)
  } catch (error) {
    // It was exiting, so there is nothing left to adopt.
    if (!isSameProcess(record.process)) return undefined
    const problem = `Process ${record.process.pid} cannot be taken over as private Redis`
    throw new Error(`${problem}: ${messageOf(error)}.`, { cause: error })
  }
}

/** The address of the private Redis that runs in a data directory now; undefined if none does. Secret. */
export async function findRunningServer (dataDirectory: string): Promise<string | undefined> {
  const record = await readServerRecord(dataDirectory)
  return record !== undefined && isSameProcess(record.process) ? urlOf(record) : undefined
}

/**
 * Resolves when the process is gone. An idle connection ends with it, so there is nothing to do until then.
 * @throws AbortError when the signal ends the watch first
 */
export async function whenServerEnded ({ record }: RunningServer, signal: AbortSignal): Promise<void> {
  while (isRunning(record.process.pid)) {
    await connectionEnds(record.address, signal)
    await sleep(afterConnection, undefined, { signal, ref: false })
  }
}

/** One that cannot be opened ends at once. */
async function connectionEnds (address: ServerAddress, signal: AbortSignal): Promise<void> {
  const socket = connect('path' in address ? address : { ...address, host: '127.0.0.1' }).unref()
  const close = () => { socket.destroy() }
  signal.addEventListener('abort', close, { once: true })
  await new Promise<void>(resolve => {
    socket.on('error', () => { /* it closes */ }).once('close', () => { resolve() }).resume()
    if (signal.aborted) close()
  })
  signal.removeEventListener('abort', close)
}

/** Ends Redis once everything is written; with an append-only file there is nothing to save on top. */
export async function stopServer ({ record }: RunningServer, files: ServerFiles): Promise<void> {
  if (isSameProcess(record.process)) await endProcess(record.process.pid, stopPatience)
  await files.removeRecord()
}

async function startAt (address: ServerAddress, password: string, setup: ServerSetup): Promise<RunningServer> {
  const { files, program } = setup
  await files.writeConfig(address, password)
  const pid = await spawnDetached(program, files)
  try {
    const process = identify(pid)
    if (process === undefined) throw new Error('it exited at once')
    const record = { process, address, password }
    await files.writeRecord(record)
    return await meet(record, setup)
  } catch (error) {
    await endProcess(pid, stopPatience)
    throw new Error(`${program} did not start (${messageOf(error)}; its log ends: ${await files.readLogEnd()}).`, { cause: error })
  }
}

/** In a process group of its own, so that Ctrl-C in the terminal leaves it running until we are done with it. */
async function spawnDetached (program: string, files: ServerFiles): Promise<number> {
  const output = await files.openLog()
  try {
    const child = spawn(program, [files.configPath], {
      cwd: files.folder, detached: true, stdio: ['ignore', output.fd, output.fd]
    })
    await once(child, 'spawn')
    child.unref()
    return child.pid ?? 0
  } finally {
    await output.close()
  }
}

/** Waits until Redis answers, however long it reads its data, and makes sure that it is the one of this folder. */
async function meet (record: ServerRecord, { files, log, signal }: Omit<ServerSetup, 'program'>): Promise<RunningServer> {
  const url = urlOf(record)
  const { options, shown } = parseRedisAddress(url)
  const redis = new Redis({ ...connectionOptions('worker'), ...options, retryStrategy: () => 20, replyMapping: 'legacy' })
  redis.on('error', () => {})
  const done = new AbortController()
  const reminder = setInterval(() => log.info('The private Redis is still reading its data'), reminderInterval)
  const watching = anySignal(signal, done.signal)
  const ended = whenEnded(record.process.pid, watching.signal).then(() => {
    throw new Error('it ended')
  })
  try {
    // Raced as a whole: a connection for workers waits for ever for a Redis that ends meanwhile.
    const version = await Promise.race([inspect(redis, files.folder), ended])
    return { record, url, description: `private Redis ${version} at ${shown} (process ${record.process.pid})` }
  } finally {
    clearInterval(reminder)
    done.abort()
    watching.clear()
    redis.disconnect()
  }
}

/** The version of the Redis, once it answers and is known to be the one of this folder. */
async function inspect (redis: Redis, folder: string): Promise<string | undefined> {
  await whenReady(redis)
  const directory = await redis.config('GET', 'dir')
  if (!Array.isArray(directory) || directory[1] !== folder) {
    throw new Error(`it is a Redis with other data than ${folder}; stop that one first`)
  }
  const problem = (await checkRedis(redis)).find(({ level }) => level === 'problem')
  if (problem !== undefined) throw new Error(`${problem.message}: ${problem.remedy}`)
  return parseInfo(await redis.info('server')).redis_version
}

function urlOf ({ address, password }: ServerRecord): string {
  return 'path' in address
    ? `redis://:${password}@localhost?path=${encodeURIComponent(address.path)}`
    : `redis://:${password}@127.0.0.1:${address.port}`
}
