import { startEmbeddedRedis } from '../../src/redis/private/embedded.ts'
import { messageOf } from '../../src/lib/errors.ts'
import type { Log } from '../../src/lib/logging.ts'

/** A StableQueue reduced to its private Redis, for tests that kill it: `node … <data directory>`. */
const write = (line: unknown) => { process.stdout.write(`${line}\n`) }
const log: Log = { trace: write, debug: write, info: write, warn: write, error: write }

try {
  const redis = await startEmbeddedRedis({ dataDirectory: process.argv[2] ?? '', log })
  write(`ready ${redis.url}`)
  process.once('SIGTERM', () => redis.stop().then(() => process.exit()))
  setInterval(() => {}, 60_000)
} catch (error) {
  write(`refused ${messageOf(error)}`)
  process.exitCode = 1
}
