import { startChild } from './child.ts'
import type { Environment } from './environment.ts'

/** BullMQ with nothing around it, in a process of its own: the best that a queue on this machine can do. */
export interface BareQueue {
  readonly pid: number
  /** Milliseconds from each `add` to its processor, one after the other with a rest between, after a warm-up. */
  handOver (times: number, rest: number): Promise<number[]>
  /** Jobs a second of a worker with concurrency 1 and nothing to do, over so many waiting jobs. */
  work (jobs: number): Promise<number>
  /** Address of a route that validates a submission and does one `queue.add`. */
  serve (): Promise<string>
  /** Its processor time so far, in microseconds. */
  used (): Promise<number>
}

export async function startBareQueue (environment: Environment): Promise<BareQueue> {
  const child = startChild(environment, new URL('./bare-queue-process.js', import.meta.url), [environment.redisUrl])
  return {
    pid: child.pid,
    handOver: (times, rest) => child.ask('handOver', { times, rest }),
    work: jobs => child.ask('work', jobs),
    serve: () => child.ask('serve'),
    used: () => child.ask('used')
  }
}
