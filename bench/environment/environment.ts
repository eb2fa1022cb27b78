import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { createKeys } from '../../src/lib/keys.ts'
import { startEmbeddedRedis } from '../../src/redis/private/embedded.ts'

/** The base of every figure: a folder and a Redis of its own, started exactly as the product starts its own. */
export interface Environment {
  readonly folder: string
  readonly redisUrl: string
  /** For looking at Redis and filling it. */
  readonly redis: Redis
  /** Has this closed before the rest, in reverse order. */
  onClose (close: () => Promise<unknown>): void
}

export const silentLogger = pino({ level: 'silent' })

const open = new Set<() => Promise<void>>()

/** Runs the work in an environment and removes that afterwards, also after an error. */
export async function withEnvironment<Outcome> (
  work: (environment: Environment) => Promise<Outcome>
): Promise<Outcome> {
  const closers: Array<() => Promise<unknown>> = []
  const clear = async () => {
    open.delete(clear)
    for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close()
  }
  open.add(clear)
  try {
    const folder = await mkdtemp(join(tmpdir(), 'sq-bench-'))
    closers.push(() => rm(folder, { recursive: true, force: true }))
    const embedded = await startEmbeddedRedis({ dataDirectory: folder, log: silentLogger })
    closers.push(() => embedded.stop())
    const redis = new Redis(embedded.url)
    closers.push(async () => { redis.disconnect() })
    return await work({ folder, redisUrl: embedded.url, redis, onClose: close => { closers.push(close) } })
  } finally {
    await clear()
  }
}

/** What Redis uses, without the stream of events, which stops growing. */
export async function usedBytes ({ redis }: Pick<Environment, 'redis'>): Promise<number> {
  const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
  return used - (await redis.memory('USAGE', createKeys('sq').key('events'), 'SAMPLES', 0) ?? 0)
}

/** Ends all running parts when the bench is interrupted. */
export async function closeEverything (): Promise<void> {
  await Promise.all([...open].map(clear => clear()))
}

/** The process of its Redis, to kill or freeze it. */
export async function pidOfRedis ({ redis }: Environment): Promise<number> {
  for (;;) {
    const [, pid] = /process_id:(\d+)/.exec(await redis.info('server').catch(() => '')) ?? []
    if (pid !== undefined) return Number(pid)
    await sleep(20)
  }
}
