import type { Script, ScriptArgument } from '../redis/scripts.ts'
import type { Job } from './job.ts'

/** What the queue needs to know of a job: the record is the truth, the queue carries its name. */
export type QueueEntry = Pick<Job, 'id' | 'run' | 'serverId' | 'lane'>

/** How the jobs reach a queue; `queues/` implements it, so that `src/` knows no BullMQ. */
export interface QueuePort {
  /**
   * Runs a script and adds the entry in one MULTI, so that record and entry appear together or not at all. Resolves
   * with the answer of the script.
   * @throws ServiceError `queue_error` where a command of the transaction failed
   */
  addWith<Keys extends readonly string[], Args extends readonly ScriptArgument[], Answer> (
    entry: QueueEntry, script: Script<Keys, Args, Answer>, keys: Readonly<Keys>, args: Readonly<Args>
  ): Promise<Answer>
  /** Adds the entry; adding it twice is harmless. `delayMs` keeps it back for that long. */
  add (entry: QueueEntry, options?: { readonly delayMs?: number }): Promise<void>
  /** Takes a waiting entry out, if it is there and not being worked on. */
  remove (entry: Pick<QueueEntry, 'id' | 'run' | 'serverId'>): Promise<void>
}
