import type { Job } from './job.ts'

/** What the queue needs to know of a job: the record is the truth, the queue carries its name. */
export type QueueEntry = Pick<Job, 'id' | 'run' | 'serverId' | 'lane'>

/** One MULTI in which the record and its queue entry appear together or not at all. */
export interface QueueTransaction {
  runScript (name: string, keys: readonly string[], args: ReadonlyArray<string | number>): void
  /**
   * Answers of the scripts, in their order.
   * @throws ServiceError `queue_error` where a command of the transaction failed
   */
  commit (): Promise<unknown[]>
}

/** How the jobs reach a queue; `queues/` implements it, so that `src/` knows no BullMQ. */
export interface QueuePort {
  /** Begins a transaction that adds the entry. */
  transactionWith (entry: QueueEntry): Promise<QueueTransaction>
  /** Adds the entry; adding it twice is harmless. `delayMs` keeps it back for that long. */
  add (entry: QueueEntry, options?: { readonly delayMs?: number }): Promise<void>
  /** Takes a waiting entry out, if it is there and not being worked on. */
  remove (entry: Pick<QueueEntry, 'id' | 'run' | 'serverId'>): Promise<void>
}
