import type { Log } from '../lib/logging.ts'
import type { JobProgress } from './job.ts'
import type { TaskRecogniser } from './interrupt.ts'
import type { JobStore, RunClaim } from './store.ts'
import type { TaskKnowledge } from './task-knowledge.ts'

export interface ProgressWatch {
  stop (): void
}

export interface ProgressWatchDependencies {
  readonly tasks: Pick<TaskKnowledge, 'progress' | 'looks'>
  /** Whether the task that the server shows is this generation. */
  readonly isOurs: TaskRecogniser['isOurs']
  readonly store: JobStore
  readonly log: Log
  readonly claim: RunClaim
  /** The record says that the job must be cancelled. */
  readonly onCancel: () => void
  /** The claim no longer holds: another process has the job. */
  readonly onSuperseded: () => void
  /** How long a running task can stall before `onStalled`, in milliseconds; 0 means for ever. */
  readonly stallMs: number
  readonly onStalled: () => void
  /** Sends a preview to the watchers; called while this job runs, once a second at most. */
  readonly showPreview: () => Promise<void>
}

/** Writes the progress of one generation into its record while it runs. */
export function watchProgress (dependencies: ProgressWatchDependencies): ProgressWatch {
  const { tasks, isOurs, store, log, claim, onCancel, onSuperseded, stallMs, onStalled, showPreview } = dependencies
  let last = ''
  let stopped = false
  let movedAt = performance.now()
  let shownAt = 0
  // A1111 reports progress only on request.
  const { progressMs, previewMs } = tasks.looks()
  let timer = setTimeout(look, progressMs)

  /** The new progress at the server; null if it reports nothing of this job, or the same as before. */
  async function readProgress (): Promise<JobProgress | null> {
    const seen = await tasks.progress(claim.id)
    const { fraction, step, steps, etaSeconds } = seen
    if (!isOurs(seen)) {
      // A task that waits behind another's generation is not stalled; one that never begins is.
      if (seen.busy) movedAt = performance.now()
      else giveUpWhatStands()
      return null
    }
    if (performance.now() - shownAt > previewMs) {
      shownAt = performance.now()
      showPreview().catch(error => { log.debug({ job: claim.id, err: error }, 'no preview') })
    }
    const progress: JobProgress = { fraction, step, steps, etaSeconds }
    // The estimated time left changes even if nothing moves.
    const text = JSON.stringify([fraction, step, steps])
    if (text === last) {
      giveUpWhatStands()
      return null
    }
    last = text
    movedAt = performance.now()
    return progress
  }

  function giveUpWhatStands (): void {
    if (!stopped && stallMs > 0 && performance.now() - movedAt > stallMs) onStalled()
  }

  async function note (): Promise<void> {
    // Progress is optional: a server too busy to report it does not affect the job. A cancel matters at any time.
    const progress = await readProgress().catch(error => {
      log.debug({ job: claim.id, err: error }, 'no progress')
      return null
    })
    if (stopped) return
    const answer = await store.noteProgress(claim, progress)
    if (stopped) return
    if (answer === 'cancel') onCancel()
    if (answer === 'superseded') onSuperseded()
  }

  function look (): void {
    note()
      .catch(error => { log.debug({ job: claim.id, err: error }, 'progress could not be noted') })
      .finally(() => { if (!stopped) timer = setTimeout(look, progressMs) })
  }

  return {
    stop () {
      stopped = true
      clearTimeout(timer)
    }
  }
}
