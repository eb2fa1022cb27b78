import type { ListedJob } from '../lib/api-types.ts'
import { secondsText } from '../lib/format.ts'

/** The progress of a running job. */
export function JobProgress ({ job }: {
  job: Pick<ListedJob, 'progress_percentage' | 'step' | 'steps' | 'eta_seconds' | 'estimated_time_remaining'>
}) {
  const percent = Math.round(job.progress_percentage)
  const left = job.estimated_time_remaining ?? job.eta_seconds ?? null
  return (
    <div class='progress'>
      <progress max='100' value={percent} aria-label='Progress'>{percent} %</progress>
      <span class='numbers'>{percent} %</span>
      {job.step !== null && job.steps && <span class='muted numbers minor'>step {job.step} of {job.steps}</span>}
      {left !== null && <span class='muted numbers'>about {secondsText(left)} left</span>}
    </div>
  )
}
