import type { ListedJob } from '../lib/api-types.ts'
import { secondsText } from '../lib/format.ts'
import { t } from '../texts/en/queue.ts'
import { common } from '../texts/en/common.ts'

/** The progress of a running job. */
export function JobProgress ({ job }: {
  job: Pick<ListedJob, 'progress_percentage' | 'step' | 'steps' | 'eta_seconds' | 'estimated_time_remaining'>
}) {
  const percent = Math.round(job.progress_percentage)
  const left = job.estimated_time_remaining ?? job.eta_seconds ?? null
  return (
    <div class='progress'>
      <progress max='100' value={percent} aria-label={t.progress}>{common.percent(percent)}</progress>
      <span class='numbers'>{common.percent(percent)}</span>
      {job.step !== null && job.steps && <span class='muted numbers minor'>{t.stepOf({ step: job.step, steps: job.steps })}</span>}
      {left !== null && <span class='muted numbers'>{t.aboutLeft(secondsText(left))}</span>}
    </div>
  )
}
