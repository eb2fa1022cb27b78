import type { Redis } from 'ioredis'

/** One thing looked at: what was found, and what to do where it is not fine. */
export interface Finding {
  /** What was looked at, for example `redis version`. */
  readonly topic: string
  readonly level: 'fine' | 'warning' | 'problem'
  readonly message: string
  readonly remedy?: string
}

/** What Redis says about itself, as far as it matters here. */
export interface RedisFacts {
  /** The fields of INFO. */
  readonly info: Readonly<Record<string, string>>
  /** From CONFIG GET; undefined where the service may not ask, as with many managed offers. */
  readonly appendfsync: string | undefined
}

/** Looks at a Redis that answers; needs no right beyond INFO. */
export async function checkRedis (connection: Redis): Promise<Finding[]> {
  const info = parseInfo(await connection.info())
  const appendfsync = await connection.config('GET', 'appendfsync').then(
    reply => String(Array.isArray(reply) ? reply[1] : undefined), () => undefined)
  return judgeRedis({ info, appendfsync })
}

/** Name and version of what answers, such as `Redis 7.2.4`. */
export async function versionOf (connection: Redis): Promise<string | null> {
  const { redis_version: redis, valkey_version: valkey } = parseInfo(await connection.info('server'))
  return valkey === undefined ? redis === undefined ? null : `Redis ${redis}` : `Valkey ${valkey}`
}

/** The fields of an INFO reply. */
export function parseInfo (text: string): Record<string, string> {
  const lines = text.split(/\r?\n/).filter(line => !line.startsWith('#') && line.indexOf(':') > 0)
  return Object.fromEntries(lines.map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}

/** Version, eviction, persistence and memory, each with a remedy where it endangers jobs. */
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
