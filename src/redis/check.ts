import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { messageOf } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { redisProblemOf } from './errors.ts'
import { loadScript } from './scripts.ts'

/** One check: its result, and the remedy if it is not fine. */
export interface Finding {
  /** Its subject, for example `redis version`. */
  readonly topic: string
  readonly level: 'fine' | 'warning' | 'problem'
  readonly message: string
  readonly remedy?: string
}

/** The part of Redis's own information that matters here. */
export interface RedisFacts {
  /** The fields of INFO. */
  readonly info: Readonly<Record<string, string>>
  /** From CONFIG GET; undefined if the service has no right to ask, as with many managed offers. */
  readonly appendfsync: string | undefined
}

/** Looks at a Redis that answers; needs no right beyond INFO. */
export async function checkRedis (connection: Redis): Promise<Finding[]> {
  const info = parseInfo(await connection.info())
  const appendfsync = await connection.config('GET', 'appendfsync').then(
    reply => String(Array.isArray(reply) ? reply[1] : undefined), () => undefined)
  return judgeRedis({ info, appendfsync })
}

/** Name and version of the answering program, such as `Redis 7.2.4`. */
export async function versionOf (connection: Redis): Promise<string | null> {
  const { redis_version: redis, valkey_version: valkey } = parseInfo(await connection.info('server'))
  return valkey === undefined ? redis === undefined ? null : `Redis ${redis}` : `Valkey ${valkey}`
}

/** The fields of an INFO reply. */
export function parseInfo (text: string): Record<string, string> {
  const lines = text.split(/\r?\n/).filter(line => !line.startsWith('#') && line.indexOf(':') > 0)
  return Object.fromEntries(lines.map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}

/** Version, eviction, persistence and memory, each with a remedy if it endangers jobs. */
export function judgeRedis ({ info, appendfsync }: RedisFacts): Finding[] {
  return [judgeVersion(info), judgeEviction(info), judgePersistence(info, appendfsync), judgeMemory(info)]
}

function judgeVersion (info: RedisFacts['info']): Finding {
  const topic = 'redis version'
  const version = info.redis_version ?? 'unknown'
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const name = info.valkey_version ? `Valkey ${info.valkey_version}` : `Redis ${version}`
  if (major > 6 || (major === 6 && minor >= 2)) return { topic, level: 'fine', message: name }
  return { topic, level: 'problem', message: `${name} is too old`, remedy: 'Use Redis 6.2 or newer, or Valkey.' }
}

function judgeEviction (info: RedisFacts['info']): Finding {
  const topic = 'redis eviction'
  const policy = info.maxmemory_policy ?? 'unknown'
  if (policy === 'noeviction') return { topic, level: 'fine', message: 'maxmemory-policy is noeviction' }
  const remedy = 'Set maxmemory-policy to noeviction, or Redis removes waiting jobs when its memory is full.'
  // Without a limit nothing is ever evicted, whatever the policy says.
  const level = info.maxmemory === '0' ? 'warning' : 'problem'
  return { topic, level, message: `maxmemory-policy is ${policy}`, remedy }
}

function judgePersistence (info: RedisFacts['info'], appendfsync: string | undefined): Finding {
  const topic = 'redis persistence'
  if (info.aof_enabled !== '1') {
    const message = 'the append-only file is off'
    return { topic, level: 'warning', message, remedy: 'Set appendonly to yes, or jobs since the last snapshot are lost when Redis ends.' }
  }
  if (info.aof_last_write_status === 'err') {
    const message = 'the last write to the append-only file failed'
    return { topic, level: 'problem', message, remedy: 'Free space on the disk of Redis, and check that it can write there.' }
  }
  if (appendfsync === 'no') {
    const message = 'the append-only file is written when the system likes (appendfsync no)'
    return { topic, level: 'warning', message, remedy: 'Set appendfsync to always or everysec.' }
  }
  return { topic, level: 'fine', message: `append-only file is on${appendfsync ? `, appendfsync ${appendfsync}` : ''}` }
}

function judgeMemory (info: RedisFacts['info']): Finding {
  const topic = 'redis memory'
  const used = Number(info.used_memory ?? 0)
  const limit = Number(info.maxmemory ?? 0)
  const message = `${toMebibytes(used)} MiB in use${limit > 0 ? ` of ${toMebibytes(limit)} MiB` : ''}`
  // A full Redis takes no more jobs and lets workers lose their locks, well before the last byte.
  if (limit === 0 || used < 0.7 * limit) return { topic, level: 'fine', message }
  return { topic, level: used < 0.9 * limit ? 'warning' : 'problem', message, remedy: 'Raise maxmemory of Redis.' }
}

function toMebibytes (bytes: number): number {
  return Math.ceil(bytes / 2 ** 20)
}

/** Lifetime of the trial's keys if they are not removed, in seconds. */
const lifetime = 5

const trialScript = loadScript<[hash: string], [lifetime: number], 1>(new URL('scripts/trial.lua', import.meta.url))

/** One command of each kind that the service uses, on keys and a channel of its own. */
function trialsOf (keys: Keys): ReadonlyArray<readonly [command: string, ...parameters: string[]]> {
  const [one, other] = [keys.key('trial', randomUUID()), `${keys.bullPrefix}:trial:${randomUUID()}`]
  return [
    ['SET', one, '1', 'EX', String(lifetime)],
    ['EVAL', trialScript.lua, '1', `${one}:hash`, String(lifetime)],
    ['EVALSHA', trialScript.sha, '1', `${one}:hash`, String(lifetime)],
    ['ZADD', other, '1', 'a'],
    ['BZPOPMIN', other, '1'],
    ['XADD', `${other}:stream`, '*', 'a', '1'],
    ['DEL', one, `${one}:hash`, other, `${other}:stream`],
    ['PUBLISH', keys.channel('servers'), '']
  ]
}

/**
 * Tries the service's operations on Redis, and reads its kind.
 * @returns the faults, each with the setting that repairs it; nothing if all is fine
 */
export async function tryRedis (redis: Redis, keys: Keys): Promise<Finding[]> {
  const info = await redis.info().then(parseInfo, (): Record<string, string> => ({}))
  const refusal = await firstRefusal(redis, keys)
  // The kind of Redis says more than its answer to a command.
  const kind = judgeRole(info) ?? judgeCluster(info, refusal !== null || await hasSeveralParts(redis, info))
  if (kind !== null) return [kind]
  return refusal === null ? [] : [judgeRefusal(refusal, keys)]
}

/**
 * For the start: refuses a Redis that waiting cannot repair; for one that only takes no writes now, logs a warning.
 * @throws Error with a sentence that names the setting
 */
export async function requireFitRedis (redis: Redis, keys: Keys, log: Log): Promise<void> {
  for (const { topic, level, message, remedy = '' } of await tryRedis(redis, keys)) {
    if (level === 'problem' && topic !== 'redis writes') throw new Error(`${message}. ${remedy}`)
    log[level === 'problem' ? 'error' : 'warn'](`${message}. ${remedy}`)
  }
}

interface Refusal {
  readonly command: string
  readonly error: unknown
}

async function firstRefusal (redis: Redis, keys: Keys): Promise<Refusal | null> {
  for (const [command, ...parameters] of trialsOf(keys)) {
    try {
      await redis.call(command, ...parameters)
    } catch (error) {
      return { command, error }
    }
  }
  return null
}

function judgeRole ({ role, master_host: host, master_port: port }: Readonly<Record<string, string>>): Finding | null {
  if (role !== 'slave') return null
  const master = host === undefined ? 'its master' : `its master, ${host}:${port ?? ''}`
  return {
    topic: 'redis role',
    level: 'problem',
    message: 'REDIS_URL names a replica, which accepts no writes',
    remedy: `Set REDIS_URL to the address of ${master}, or to redis+sentinel://… where Sentinels know which one that is.`
  }
}

/** Whether the keys of this cluster are spread over several nodes, so that ours can move to another one. */
async function hasSeveralParts (redis: Redis, info: Readonly<Record<string, string>>): Promise<boolean> {
  if (info.cluster_enabled !== '1') return false
  const { cluster_size: size } = await redis.cluster('INFO').then(text => parseInfo(String(text)), () => parseInfo(''))
  return Number(size ?? 0) > 1
}

function judgeCluster (info: Readonly<Record<string, string>>, refuses: boolean): Finding | null {
  if (info.cluster_enabled !== '1') return null
  return {
    topic: 'redis cluster',
    // A single node holds all keys. One of several can hold the slot of ours, but only until the cluster moves it.
    level: refuses ? 'problem' : 'warning',
    message: 'REDIS_URL names a node of a Redis Cluster (cluster-enabled yes)',
    remedy: 'Set REDIS_URL to a Redis without cluster mode; with Sentinels, or a managed one, it survives failures too.'
  }
}

function judgeRefusal ({ command, error }: Refusal, keys: Keys): Finding {
  const problem = redisProblemOf(error)
  const prefix = keys.key('*')
  if (problem?.code === 'NOPERM') {
    return {
      topic: 'redis rights',
      level: 'problem',
      message: `the user of REDIS_URL has no right to use ${command} on ${command === 'PUBLISH' ? 'channels' : 'keys'} ${prefix}`,
      remedy: `Give it all of them, such as with ACL SETUSER <name> ~${prefix} &${prefix} +@all. Or set REDIS_URL to ` +
        'another user, or REDIS_PREFIX to a prefix that this one can use.'
    }
  }
  return {
    topic: 'redis writes',
    level: 'problem',
    message: `${command} is rejected: ${problem?.reason ?? messageOf(error)}`,
    remedy: 'Mend that at the Redis that REDIS_URL names, or set REDIS_URL to another.'
  }
}

export interface InstallationOptions {
  readonly redis: Redis
  readonly keys: Keys
  readonly log: Log
  /** DATA_DIR's mark of the Redis that belongs to it; null if there is none. */
  readonly expected: string | null
}

const exchanged = 'Redis is empty or another than before: its jobs, servers and keys are not those of this installation. ' +
  'If that was not meant, stop the service and bring the former Redis or a backup of it back'

/**
 * Reports at once a Redis other than the former one: at the start by the mark in DATA_DIR, and then whenever a
 * connection comes back.
 */
export async function watchInstallation ({ redis, keys, log, expected }: InstallationOptions): Promise<void> {
  const key = keys.key('installation')
  let known = expected

  async function look (): Promise<void> {
    const before = await redis.get(key)
    if (known !== null && before !== known) log.error({ before: known, now: before ?? 'empty' }, exchanged)
    if (before === null) await redis.set(key, randomUUID(), 'NX')
    known = before ?? await redis.get(key)
  }

  await look()
  redis.on('ready', () => {
    look().catch(error => { log.debug({ err: error }, 'it is not known which Redis this is') })
  })
}

/**
 * Raised when an older version would misread the data: 2 is that of the pool, in which jobs wait without a server; 3
 * packs results.
 */
export const dataFormat = 3

/**
 * Refuses data that a newer version has written, and notes the format of this one.
 * @throws Error with a sentence that says what to do
 */
export async function requireKnownFormat (redis: Redis, keys: Keys): Promise<void> {
  const key = keys.key('data-format')
  const found = Number(await redis.get(key) ?? 0)
  if (found > dataFormat) {
    throw new Error(`The data in Redis was written by a newer version (format ${found}; this version knows ` +
      `${dataFormat}), and jobs that wait there would be lost to this one. Start the newer version again, or restore a ` +
      'backup from before the upgrade')
  }
  // A Redis that takes no writes now is reported elsewhere, and is no reason not to start.
  if (found < dataFormat) await redis.set(key, dataFormat).catch(() => undefined)
}
