import type { ListedJob } from '../lib/api-types.ts'
import type { ComponentChildren } from 'preact'
import { placeText, serverText, startText } from '../lib/expectation.ts'
import { ago, duration, momentText, plural } from '../lib/format.ts'
import { isEnlarging } from '../lib/inputs.ts'
import { useProgress } from '../lib/live.ts'
import { JobActions } from './job-actions.tsx'
import { JobPicture } from './job-picture.tsx'
import { JobProgress } from './job-progress.tsx'
import { Status } from './status.tsx'

/**
 * One job of a list.
 * @param props check makes the row selectable; place: controls that move the job in its queue
 */
export function JobRow ({ job: read, onChanged, check, place }: {
  job: ListedJob
  onChanged: () => void
  check?: { isChosen: boolean, onToggle: (withShift: boolean) => void }
  place?: ComponentChildren
}) {
  const job = useProgress(read)
  const { prompt, width, height, steps } = job.generation_params
  const name = prompt || (isEnlarging(job) ? 'Upscaling an image' : 'No prompt')
  const address = `#/job/${job.id}`
  return (
    <>
      {check && (
        <label class='job-check'>
          <input
            type='checkbox' aria-label={`Choose: ${name.slice(0, 80)}`} checked={check.isChosen}
            onClick={event => check.onToggle(event.shiftKey)}
          />
        </label>
      )}
      <a class='job-picture' href={address} tabindex={-1} aria-hidden='true'><JobPicture job={job} /></a>
      <div class='job-text'>
        <h3><a href={address}>{name}</a></h3>
        <p class='facts'>
          <span>{serverText(job)}</span>
          {width !== undefined && <span class='numbers minor'>{width} × {height}</span>}
          {steps !== undefined && <span class='numbers minor'>{plural(steps, 'step')}</span>}
          {job.images.length > 1 && <span>{plural(job.images.length, 'image')}</span>}
          {job.status === 'pending' && job.priority !== 5 && <span>priority {job.priority}</span>}
          {timesOf(job).map((text, index, all) => <span key={index} class={index < all.length - 1 ? 'minor' : undefined} title={momentText(job.creation_timestamp)}>{text}</span>)}
        </p>
        {job.status === 'processing' && <JobProgress job={job} />}
        {job.error !== null && <p class='problem' title={job.error.message}>{job.error.message}</p>}
      </div>
      <div class='job-side'>
        {place ? <span class='status still'>{noteOf(job)}</span> : <Status status={job.status} note={noteOf(job)} />}
        <div class='actions'>
          {place}
          <JobActions job={job} onDone={onChanged} />
        </div>
      </div>
    </>
  )
}

function noteOf (job: ListedJob) {
  if (job.cancel_requested) return 'being cancelled'
  return placeText(job)
}

/** The times of a job, the most important last: a phone shows only that one. */
function timesOf (job: ListedJob) {
  if (job.status === 'processing' && job.started_timestamp !== null) return [`runs for ${duration(job.started_timestamp, null)}`]
  if (job.status === 'completed' && job.started_timestamp !== null) {
    return [`took ${duration(job.started_timestamp, job.completion_timestamp)}`, ago(job.completion_timestamp)]
  }
  if (job.status !== 'pending') return [ago(job.completion_timestamp)]
  return [`waits for ${duration(job.creation_timestamp, null)}`, startText(job)].filter(Boolean)
}
