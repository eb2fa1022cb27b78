import type { Redis } from 'ioredis'
import type { QueuePort } from '../../src/jobs/queue-entries.ts'

/** Lets the store write its records without a queue: for filling Redis with jobs that have long ended. */
export function recordsOnly (redis: Redis): QueuePort {
  return {
    addWith: async (_entry, script, keys, args) => await script(redis, keys, args),
    async add () {},
    async remove () {}
  }
}
