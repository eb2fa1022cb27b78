import type { Redis } from 'ioredis'
import type { QueuePort } from '../../src/jobs/queue-port.ts'

/** Lets the store write its records without a queue: for filling Redis with jobs that have long ended. */
export function recordsOnly (redis: Redis): QueuePort {
  return {
    async transactionWith () {
      const running: Array<Promise<unknown>> = []
      return {
        runScript (name, keys, args) {
          const command = Reflect.get(redis, name) as (...values: Array<string | number>) => Promise<unknown>
          running.push(command.call(redis, ...keys, ...args))
        },
        commit: async () => await Promise.all(running)
      }
    },
    async add () {},
    async remove () {}
  }
}
