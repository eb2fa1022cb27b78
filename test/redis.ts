import { Redis } from 'ioredis'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
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

/** Servers without data that tests of this process no longer need: starting one takes longer than many tests. */
const idle: TestRedis[] = []
/** Commands whose changes another test would notice. Redis 6.2 counts no subcommands, so it serves at most two. */
const changesServer = /cmdstat_(?:config(?!\|(?:get|resetstat))|acl|debug|replicaof|slaveof|module|function)/

/** Starts a Redis that also ends if this process crashes or is killed, or takes one that another test has left. */
export async function startTestRedis (options: TestRedisOptions = {}): Promise<TestRedis> {
  const isPlain = Object.keys(options).length === 0
  const server = (isPlain ? idle.pop() : undefined) ?? await startServer(options)
  let isAsStarted = isPlain
  let isStopped = false
  return {
    url: server.url,
    pid () {
      isAsStarted = false
      return server.pid()
    },
    async kill () {
      isAsStarted = false
      await server.kill()
    },
    restart: server.restart,
    async stop () {
      if (isStopped) return
      isStopped = true
      if (isAsStarted && await clear(server.url)) idle.push(server)
      else await server.stop()
    }
  }
}

/** Removes all data; false if something could still disturb the next test. */
async function clear (url: string): Promise<boolean> {
  const redis = new Redis(url, { retryStrategy: () => null, maxRetriesPerRequest: null, commandTimeout: 1000 })
  redis.on('error', () => {})
  try {
    if (changesServer.test(await redis.info('commandstats'))) return false
    let attempts = 5
    // Connections that a test has just closed are listed for some milliseconds.
    while (String(await redis.client('LIST')).trim().split('\n').length > 1) {
      if (--attempts === 0) return false
      await sleep(5)
    }
    await redis.flushall()
    await redis.script('FLUSH')
    await redis.config('RESETSTAT')
    return true
  } catch {
    return false
  } finally {
    redis.disconnect()
  }
}

async function startServer (
  { persistence = 'none', program = findProgram(['redis-server', 'valkey-server']), parameters: more = [] }: TestRedisOptions
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
