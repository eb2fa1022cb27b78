import { setTimeout as sleep } from 'node:timers/promises'
import { Command, Redis, type RedisOptions } from 'ioredis'
import { repeatEach } from '../lib/beat.ts'
import { messageOf } from '../lib/errors.ts'
import type { Log } from '../lib/logging.ts'
import { parseRedisAddress } from './address.ts'
import { RedisSilence } from './errors.ts'

/** Sent by ioredis itself while it opens a connection. */
const handshake = new Set(['auth', 'hello', 'info', 'client', 'select', 'readonly'])

/**
 * Gives every command of a connection a time limit. While Redis leaves one without an answer, further ones fail at once
 * instead of waiting as long each, and are not sent; a `PING` finds out when it answers again. A command that failed is
 * never sent again, but one that was sent can still be carried out when Redis resumes.
 *
 * @param limit in milliseconds
 */
function limitCommands (redis: Redis, limit: number): void {
  const send = redis.sendCommand.bind(redis) as (command: Command, ...more: unknown[]) => Promise<unknown>
  const given = new WeakSet<Command>()
  const failed = new WeakSet<Command>()
  let silent = false

  function fallSilent (): void {
    if (silent) return
    silent = true
    probe()
  }

  /** Until Redis answers, or the connection ends: ioredis opens another one then. */
  function probe (): void {
    if (!silent || redis.status !== 'ready') return
    const ping = new Command('ping')
    ping.setTimeout(limit)
    given.add(ping)
    ping.promise.then(() => { silent = false }, probe)
    send(ping).catch(() => {})
  }

  redis.on('ready', () => { silent = false })
  redis.on('error', error => { if (isUnreachable(error)) silent = false })
  redis.sendCommand = ((command: Command, ...more: unknown[]) => {
    // ioredis resends unanswered commands over the next connection, also those whose sender has given up.
    if (failed.has(command)) return command.promise
    if (silent && !(redis.status === 'connect' && handshake.has(command.name))) {
      command.reject(new RedisSilence('Redis does not answer'))
      return command.promise
    }
    if (!given.has(command)) {
      given.add(command)
      command.setTimeout(limit)
      command.promise.catch((error: unknown) => {
        if (!(error instanceof Error) || error.message !== 'Command timed out') return
        failed.add(command)
        fallSilent()
      })
    }
    return send(command, ...more)
  }) as typeof redis.sendCommand
}

/** Nothing is there that could be silent. */
function isUnreachable (error: unknown): boolean {
  return ['ECONNREFUSED', 'ENOENT', 'ENOTFOUND', 'EHOSTUNREACH'].includes(String((error as { code?: unknown }).code))
}

/**
 * request: for HTTP routes, fails at once while Redis is away and in seconds if it gives no answer, so that clients
 * get their 503. queue: the same for the BullMQ queues of routes. BullMQ defines 64 scripts on its connection, and
 * ioredis copies them into every pipeline. worker: for BullMQ and
 * background work, waits until Redis is back. subscriber: for channels, subscribes again by itself.
 */
export type ConnectionKind = 'request' | 'queue' | 'worker' | 'subscriber'

const optionsOfKind: Readonly<Record<ConnectionKind, RedisOptions>> = {
  request: { enableOfflineQueue: false, maxRetriesPerRequest: 1 },
  queue: { enableOfflineQueue: false, maxRetriesPerRequest: 1 },
  worker: { maxRetriesPerRequest: null },
  subscriber: { maxRetriesPerRequest: null, autoResubscribe: true }
}

/** Default time limit of a request's command, in milliseconds. */
const defaultCommandLimit = 5000

/** Seconds between two signs of life on a connection that otherwise only listens. */
const heartbeat = 5

/** The options of a connection that do not depend on the address of Redis. Times in milliseconds. */
export function connectionOptions (kind: ConnectionKind): RedisOptions {
  return {
    ...optionsOfKind[kind],
    lazyConnect: true,
    connectionName: `stablequeue-${kind}`,
    retryStrategy: attempt => Math.min(attempt * 100, 1000),
    // Finds half-open connections; must exceed the longest blocking read, BullMQ's 10 s.
    socketTimeout: 15_000,
    keepAlive: 10_000
  }
}

/**
 * A connection that is not open yet: the first command or `connect()` opens it, for `request` and `queue` only
 * `connect()` does.
 * Logs an outage once, and its end.
 * @param commandLimit time limit for a command of kind `request` or `queue`, in milliseconds. The others wait: a socket
 * that stays silent is given up after `socketTimeout`, and unanswered commands are sent again over the next one
 * @throws Error if the address is none
 */
export function createConnection (
  url: string, kind: ConnectionKind, log: Log, commandLimit = defaultCommandLimit
): Redis {
  const { options, shown } = parseRedisAddress(url)
  const redis = new Redis({ ...connectionOptions(kind), ...options, replyMapping: 'legacy' })
  if (kind === 'request' || kind === 'queue') limitCommands(redis, commandLimit)
  sendTogether(redis)
  logOutages(redis, `Redis at ${shown} (${kind} connection)`, log)
  if (kind === 'subscriber') {
    // All listeners of the process share one connection.
    redis.setMaxListeners(0)
    keepAlive(redis)
  }
  return redis
}

/**
 * An open connection. Tries again while Redis cannot be reached or still loads its data; a wrong password is final.
 * @param patience how long to try, in milliseconds
 * @param commandLimit as for `createConnection`
 * @throws Error with a sentence that names the address without password
 */
export async function connectRedis (
  url: string, kind: ConnectionKind, log: Log, patience = 10_000, commandLimit = defaultCommandLimit
): Promise<Redis> {
  const { shown } = parseRedisAddress(url)
  const redis = createConnection(url, kind, log, commandLimit)
  let problem = 'no answer in time'
  const remember = (error: unknown) => { problem = messageOf(error) }
  redis.on('error', remember)
  const stop = new AbortController()
  try {
    await Promise.race([
      whenReady(redis),
      sleep(patience, undefined, { signal: stop.signal }).then(() => { throw new Error(problem) })
    ])
    return redis
  } catch {
    redis.disconnect()
    throw new Error(`Redis at ${shown} cannot be used: ${problem}. ${remedyFor(problem)}`)
  } finally {
    stop.abort()
    redis.off('error', remember)
  }
}

/**
 * Opens a connection; resolves when commands are answered, and keeps trying until then.
 * @throws Error when Redis refuses us, which no further attempt would change
 */
export async function whenReady (redis: Redis): Promise<void> {
  let refuse = (_error: Error) => {}
  try {
    await new Promise<void>((resolve, reject) => {
      refuse = error => { if (isRefusal(error.message)) reject(error) }
      redis.once('ready', resolve)
      redis.on('error', refuse)
      // Its rejection is one failed attempt, which `retryStrategy` and the events above deal with.
      redis.connect().catch(() => {})
    })
  } finally {
    redis.off('error', refuse)
  }
}

function isRefusal (message: string): boolean {
  return /^(NOAUTH|WRONGPASS|NOPERM)\b|AUTH.*without any password|invalid password|DB index is out of range/i.test(message)
}

function remedyFor (problem: string): string {
  return isRefusal(problem)
    ? 'Check the user, password and database in REDIS_URL.'
    : 'Check that it runs and that REDIS_URL is right.'
}

/** Sends the commands of one turn of the event loop, those of all its callbacks, with one system call. */
function sendTogether (redis: Redis): void {
  redis.on('connect', () => {
    const { stream } = redis
    const { write } = stream
    const uncork = () => { stream.uncork() }
    stream.write = ((...parameters: Parameters<typeof write>) => {
      if (stream.writableCorked === 0) {
        stream.cork()
        setImmediate(uncork)
      }
      return Reflect.apply(write, stream, parameters)
    }) as typeof write
  })
}

/** For commands that cannot wait for a turn's other callbacks, or that its last callbacks send. */
export function sendNow ({ stream }: { readonly stream?: Redis['stream'] }): void {
  stream?.uncork()
}

function logOutages (redis: Redis, name: string, log: Log): void {
  let away = false
  const outage = (reason: string) => {
    if (!away) log.warn(`${name} is away (${reason}); trying again until it returns`)
    away = true
  }
  redis.on('error', (error: Error) => outage(error.message))
  redis.on('reconnecting', () => outage('connection closed'))
  redis.on('ready', () => {
    if (away) log.info(`${name} is back`)
    away = false
  })
}

/** Lets `socketTimeout` notice that the other end is gone although nothing is asked on this connection. */
function keepAlive (redis: Redis): void {
  redis.once('end', repeatEach(heartbeat, () => {
    if (redis.status === 'ready') redis.ping().catch(() => {})
  }))
}
