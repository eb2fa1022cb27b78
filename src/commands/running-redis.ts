import type { Config } from '../config/settings.ts'
import type { Log } from '../log.ts'
import { startEmbeddedRedis } from '../redis/embedded.ts'
import { findRunningServer } from '../redis/server.ts'

/**
 * Does something on the Redis of this installation: the one of REDIS_URL, the private one of a service that runs
 * now, or a private one that is started for the while.
 */
export async function withRunningRedis (
  config: Config, log: Log, work: (redisUrl: string) => Promise<void>
): Promise<void> {
  if (config.REDIS_URL !== '') return await work(config.REDIS_URL)
  const running = await findRunningServer(config.DATA_DIR)
  if (running !== undefined) return await work(running)
  const embedded = await startEmbeddedRedis({ dataDirectory: config.DATA_DIR, program: config.REDIS_SERVER, log })
  try {
    await work(embedded.url)
  } finally {
    await embedded.stop()
  }
}
