import type { Redis } from 'ioredis'
import { sendNow } from '../redis/connections.ts'
import type { ScriptArgument } from '../redis/scripts.ts'
import type { CreateAnswer, QueueScripts } from './scripts/index.ts'

/** The arguments of one job, in the order of create-job.lua. */
export type NewJobArguments = Parameters<QueueScripts['createJob']>[2]

/**
 * Jobs of one call: it keeps Redis from everything else for about 1 ms. When so many wait, they are sent before the
 * turn ends, so that Redis works while this process reads further submissions.
 */
const mostAtOnce = 8

interface Waiting {
  readonly args: NewJobArguments
  readonly resolve: (answer: Exclude<CreateAnswer, Error>) => void
  readonly reject: (error: unknown) => void
}

/**
 * Creates the jobs of one turn of the event loop with one call of the script, because each call by itself is a fifth of
 * Redis' work for a job. Each job gets its own answer or error; only a call that fails fails all its jobs.
 */
export function createTogether (
  redis: Redis, prefix: [string], { createJob }: Pick<QueueScripts, 'createJob'>
): (args: NewJobArguments) => Promise<Exclude<CreateAnswer, Error>> {
  let waiting: Waiting[] = []

  function send (jobs: readonly Waiting[]): void {
    const args = jobs.flatMap<ScriptArgument>(job => job.args) as unknown as NewJobArguments
    createJob(redis, prefix, args).then(answers => {
      for (const [index, { resolve, reject }] of jobs.entries()) {
        const answer = answers[index]
        if (answer === undefined || answer instanceof Error) reject(answer)
        else resolve(answer)
      }
    }, (error: unknown) => {
      for (const { reject } of jobs) reject(error)
    })
  }

  function sendAll (): void {
    const jobs = waiting
    waiting = []
    if (jobs.length > 0) send(jobs)
    sendNow(redis)
  }

  return async args => await new Promise((resolve, reject) => {
    if (waiting.length === 0) setImmediate(sendAll)
    waiting.push({ args, resolve, reject })
    if (waiting.length === mostAtOnce) sendAll()
  })
}
