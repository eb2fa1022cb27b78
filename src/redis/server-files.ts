import { randomUUID } from 'node:crypto'
import { chmod, mkdir, open, readFile, realpath, rename, rm, writeFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { ProcessIdentity } from './process.ts'

/** Where the private Redis listens. */
export type ServerAddress = { readonly path: string } | { readonly port: number }

/** What a later start needs to find the private Redis of an earlier one. */
export interface ServerRecord {
  readonly process: ProcessIdentity
  readonly address: ServerAddress
  readonly password: string
}

/** The files of the private Redis, in a folder that only its owner may enter. */
export interface ServerFiles {
  /** Without symbolic links, as Redis itself names it. */
  readonly folder: string
  readonly socket: string
  readonly configPath: string
  writeConfig (address: ServerAddress, password: string): Promise<void>
  readRecord (): Promise<ServerRecord | undefined>
  writeRecord (record: ServerRecord): Promise<void>
  removeRecord (): Promise<void>
  /** The log to append to; starts anew when it has grown large. */
  openLog (): Promise<FileHandle>
  /** The last lines of the log, joined. */
  readLogEnd (): Promise<string>
}

/** Bytes after which the log of the private Redis starts anew. */
const largeLog = 4 * 1024 * 1024
const recordName = 'server.json'

export async function openServerFiles (dataDirectory: string): Promise<ServerFiles> {
  await mkdir(join(dataDirectory, 'redis'), { recursive: true, mode: 0o700 })
  const folder = await realpath(join(dataDirectory, 'redis'))
  await chmod(folder, 0o700)
  // Redis would make it readable for everybody. What is wrong there is said by Redis.
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

/** What the last start of a private Redis left in a data directory; its process may be gone. */
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

/** Puts a whole file in place that only its owner may read. */
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
