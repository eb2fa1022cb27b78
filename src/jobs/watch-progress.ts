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
  /** Whether what was seen is this generation. */
  readonly isOurs: TaskRecogniser['isOurs']
  readonly store: JobStore
  readonly log: Log
  readonly claim: RunClaim
  /** The record says that the job is to be cancelled. */
  readonly onCancel: () => void
  /** The claim no longer holds: another process has the job. */
  readonly onSuperseded: () => void
  /** How long a running task may stand still before `onStalled`, in milliseconds; 0 for ever. */
  readonly stallMs: number
  readonly onStalled: () => void
  /** Shows what was drawn so far to those who watch; called while it is this job that runs, once a second at most. */
  readonly showPreview: () => Promise<void>
}

/** Writes the progress of one generation into its record for as long as it runs. */
export function watchProgress (dependencies: ProgressWatchDependencies): ProgressWatch {
  const { tasks, isOurs, store, log, claim, onCancel, onSuperseded, stallMs, onStalled, showPreview } = dependencies
  let last = ''
  let stopped = false
  let movedAt = performance.now()
  let shownAt = 0
  // A1111 tells progress to those who ask only.
  const { progressMs, previewMs } = tasks.looks()
  let timer = setTimeout(look, progressMs)

  /** What is new at the server; null where it tells nothing of this job, or the same as before. */
  async function readProgress (): Promise<JobProgress | null> {
    const seen = await tasks.progress(claim.id)
    const { fraction, step, steps, etaSeconds } = seen
    if (!isOurs(seen)) {
      // What waits behind another's generation does not stand still by its own fault; what never begins does.
      if (seen.busy) movedAt = performance.now()
      else giveUpWhatStands()
      return null
    }
    if (performance.now() - shownAt > previewMs) {
      shownAt = performance.now()
      showPreview().catch(error => { log.debug({ job: claim.id, err: error }, 'no preview') })
    }
    const progress: JobProgress = { fraction, step, steps, etaSeconds }
    // The guess at the time that is left changes also where nothing moves.
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
    // Progress is a courtesy: a server too busy to tell is none of the job's business. A cancel is, at any time.
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
