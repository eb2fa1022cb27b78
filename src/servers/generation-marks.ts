import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'

/**
 * By what the generations that are out can be recognised at a server that does not tell tasks apart: kept so that after
 * a crash of this process the next one knows which of them is ours.
 */
export interface GenerationMarks {
  /** Null where the job was sent and never recognised; undefined where nothing of it is out. */
  find (serverId: string, jobId: string): Promise<string | null | undefined>
  /** @param mark null: it was sent */
  write (serverId: string, jobId: string, mark: string | null): Promise<void>
  /** It was answered, or never got there. */
  remove (serverId: string, jobId: string): Promise<void>
  forget (serverId: string): Promise<void>
}

export function createGenerationMarks (redis: Redis, keys: Keys): GenerationMarks {
  const keyOf = (serverId: string) => keys.key('server', serverId, 'generations')

  return {
    async find (serverId, jobId) {
      const text = await redis.hget(keyOf(serverId), jobId)
      return text === null ? undefined : text === '' ? null : text
    },
    async write (serverId, jobId, mark) {
      await redis.hset(keyOf(serverId), jobId, mark ?? '')
    },
    async remove (serverId, jobId) {
      await redis.hdel(keyOf(serverId), jobId)
    },
    async forget (serverId) {
      await redis.del(keyOf(serverId))
    }
  }
}
