import { withDeadline } from '../lib/deadline.ts'
import type { Log } from '../log.ts'
import type { GenerationMarks } from '../servers/generation-marks.ts'
import type { Server } from '../servers/server.ts'
import { stopOrphanedTask, type Orphan, type TaskControl } from './task-control.ts'
import type { TaskKnowledge } from './task-knowledge.ts'

/** Sees to generations that nobody waits for any more but that may still run at the server. */
export interface OrphanKeeper {
  /** Stops one, or waits until it is over, so that it is not doubled beside itself. */
  stopOrphan (jobId: string, orphan: Omit<Orphan, 'mark'>, until: AbortSignal): Promise<void>
  /** Before a job is sent once more: the same for what is left of the time before, if anything may be. */
  stopFormer (jobId: string, until: AbortSignal): Promise<void>
  /** A generation goes out; `mark` is what it is recognised by, null as long as that is not known. Returns at once. */
  keepMark (jobId: string, mark: string | null): void
  /** Nothing of it is at the server. Returns at once. */
  dropMark (jobId: string): void
}

export interface OrphanKeeperDependencies {
  readonly server: () => Server
  readonly tasks: TaskKnowledge
  readonly control: TaskControl
  readonly marks: GenerationMarks
  /** Aborted when this process lets go of the server. */
  readonly leaving: AbortSignal
  /** Milliseconds that one generation may take. */
  readonly deadlineMs: () => number
  readonly log: Log
}

/** How long a generation that nobody waits for may hold the server before the next is sent all the same, in ms. */
const orphanWait = 120_000

export function createOrphanKeeper (dependencies: OrphanKeeperDependencies): OrphanKeeper {
  const { server, tasks, control, marks, leaving, deadlineMs, log } = dependencies

  async function stop (jobId: string, orphan: Orphan, until: AbortSignal): Promise<void> {
    // Where tasks cannot be told apart, waiting is all that keeps one from being doubled.
    const wait = tasks.tellsApart() ? orphanWait : Math.max(orphanWait, deadlineMs())
    await withDeadline(wait, [leaving, until], async signal => {
      await stopOrphanedTask(control, jobId, orphan, signal)
      if (!signal.aborted) dropMark(jobId)
    }).catch(error => {
      log.debug({ job: jobId, server: server().alias, err: error }, 'the server does not report its running task')
    })
  }

  function dropMark (jobId: string): void {
    note(marks.remove(server().id, jobId), jobId)
  }

  function note (work: Promise<void>, jobId: string): void {
    work.catch(error => { log.debug({ job: jobId, err: error }, 'what it is recognised by could not be noted') })
  }

  return {
    async stopOrphan (jobId, orphan, until) {
      const mark = await marks.find(server().id, jobId).catch(() => null)
      await stop(jobId, { ...orphan, mark: mark ?? null }, until)
    },
    async stopFormer (jobId, until) {
      const mark = await marks.find(server().id, jobId).catch(() => null)
      // It was answered: what a server without tasks does now is another's.
      if (mark === undefined && !tasks.tellsApart()) return
      await stop(jobId, { answer: 'unknown', mark: mark ?? null }, until)
    },
    keepMark (jobId, mark) { note(marks.write(server().id, jobId, mark), jobId) },
    dropMark
  }
}
