import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'

/** Keys that are read at a time. */
const page = 200

/** Everything that users have stored, sessions and presets among it, as the JSON that it is. */
export async function * storedTexts (redis: Redis, keys: Keys): AsyncGenerator<string, void> {
  for (let cursor = '0'; ;) {
    const [next, found] = await redis.scan(cursor, 'MATCH', keys.key('studio', '*'), 'COUNT', page, 'TYPE', 'string')
    const texts = found.length === 0 ? [] : await redis.mget(...found)
    for (const text of texts) if (text !== null) yield text
    if (next === '0') return
    cursor = next
  }
}
