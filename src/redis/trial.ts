import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import { parseInfo, type Finding } from './check.ts'
import { redisProblemOf } from './errors.ts'
import type { Keys } from './keys.ts'
import { loadScript } from './scripts.ts'

/** How long the trial's keys stay where they are not removed, in seconds. */
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
 * Tries what the service does with Redis, and reads what kind of Redis it is.
 * @returns what is wrong, each with the setting that mends it; nothing where all is fine
 */
export async function tryRedis (redis: Redis, keys: Keys): Promise<Finding[]> {
  const info = await redis.info().then(parseInfo, (): Record<string, string> => ({}))
  const refusal = await firstRefusal(redis, keys)
  // What kind of Redis it is says more than what it answers to a command.
  const kind = judgeRole(info) ?? judgeCluster(info, refusal !== null)
  if (kind !== null) return [kind]
  return refusal === null ? [] : [judgeRefusal(refusal, keys)]
}

/**
 * For the start: a Redis that no waiting makes fit is refused, of another that takes no writes now the log tells.
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

function judgeCluster (info: Readonly<Record<string, string>>, refuses: boolean): Finding | null {
  if (info.cluster_enabled !== '1') return null
  return {
    topic: 'redis cluster',
    // One that holds the slot of all our keys works for as long as it keeps that.
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
