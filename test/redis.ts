import { Redis } from 'ioredis'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findProgram } from '../src/redis/private/install.ts'

/** A Redis for one test file, on a unix socket in a folder of its own. */
export interface TestRedis {
  /** For ioredis itself and for `connectRedis`. */
  readonly url: string
  /** Process id of the running server. */
  pid (): number
  /** Ends Redis as a power cut would; its address stays. */
  kill (): Promise<void>
  /** Starts it again at the same address, after `kill()`. */
  restart (): Promise<void>
  /** Ends it finally and removes its folder. */
  stop (): Promise<void>
}

export interface TestRedisOptions {
  /** always: acknowledged writes survive `kill()`. none: faster, starts empty. */
  persistence?: 'none' | 'always'
  /** Another server than the first in PATH. */
  program?: string
  /** Further parameters of the server. */
  parameters?: readonly string[]
}

/** Starts a Redis that also ends if this process crashes or is killed. */
export async function startTestRedis (
  { persistence = 'none', program = findProgram(['redis-server', 'valkey-server']), parameters: more = [] }: TestRedisOptions = {}
): Promise<TestRedis> {
  if (program === undefined) throw new Error('Tests need redis-server or valkey-server in PATH; npm test installs it.')
  const folder = await mkdtemp(join(tmpdir(), 'sq-redis-'))
  const socket = join(folder, 'redis.sock')
  const parameters = [
    '--port', '0', '--unixsocket', socket, '--dir', folder, '--save', '', '--maxmemory-policy', 'noeviction',
    '--appendonly', persistence === 'always' ? 'yes' : 'no', '--appendfsync', 'always', ...more
  ]
  const start = async () => {
    const server = spawn(program, parameters, { stdio: ['ignore', 'ignore', 'inherit'], detached: true })
    const guard = guardOf(server, folder)
    await ready(server, socket)
    return { server, guard }
  }
  let running = await start()
  const kill = async () => {
    await end(running.guard)
    await end(running.server)
  }
  return {
    url: `redis://localhost?path=${encodeURIComponent(socket)}`,
    pid: () => running.server.pid ?? 0,
    kill,
    restart: async () => { running = await start() },
    stop: async () => {
      await kill()
      await rm(folder, { recursive: true, force: true })
    }
  }
}

/** A shell that outlives this process and cleans up after it; the pipe to it closes however this process ends. */
function guardOf (server: ChildProcess, folder: string): ChildProcess {
  const script = 'cat >/dev/null; kill -9 "$1"; rm -rf "$2"'
  const guard = spawn('sh', ['-c', script, 'sh', String(server.pid), folder], {
    stdio: ['pipe', 'ignore', 'ignore'], detached: true
  })
  // Neither must keep a finished test file running.
  server.unref()
  guard.unref()
  if (guard.stdin !== null && 'unref' in guard.stdin && typeof guard.stdin.unref === 'function') guard.stdin.unref()
  return guard
}

async function ready (server: ChildProcess, path: string): Promise<void> {
  const redis = new Redis({ path, retryStrategy: () => 10, maxRetriesPerRequest: null })
  redis.on('error', () => {})
  const ended = once(server, 'exit').then(() => { throw new Error('The Redis of this test ended while starting.') })
  try {
    await Promise.race([redis.ping(), ended])
  } finally {
    redis.disconnect()
    ended.catch(() => {})
  }
}

async function end (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.ref()
  child.kill('SIGKILL')
  await ended
}
