import type { Group, ListedJob } from '../lib/api-types.ts'
import type { ComponentChildren } from 'preact'
import { askerText, obstacleText, placeText, rangeText, serverText, startText } from '../lib/expectation.ts'
import { ago, duration, momentText } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { isEnlarging } from '../lib/inputs.ts'
import { useProgress } from '../lib/live.ts'
import { useMayChange } from '../lib/caller.ts'
import { GroupChip } from './group-chip.tsx'
import { JobActions } from './job-actions.tsx'
import { JobPicture } from './job-picture.tsx'
import { JobProgress } from './job-progress.tsx'
import { Icon } from './icon.tsx'
import { Status } from './status.tsx'
import { t } from '../texts/en/queue.ts'

/**
 * One job of a list.
 * @param props check makes the row selectable; handle and place: controls that move the job in its queue;
 *   group: how far its group is, if that is known
 */
export function JobRow ({ job: read, nameOfKey, onChanged, group, check, handle, place }: {
  job: ListedJob
  nameOfKey: (id: string) => string
  onChanged: () => void
  group?: Group | undefined
  handle?: ComponentChildren
  check?: { isChosen: boolean, onToggle: (withShift: boolean) => void }
  place?: ComponentChildren
}) {
  const job = useProgress(read)
  const [isOpen, setOpen] = useState(false)
  const { prompt, width, height, steps } = job.generation_params
  const name = prompt || (isEnlarging(job) ? t.upscalingImage : t.noPrompt)
  const asker = askerText(job, nameOfKey)
  const mayChange = useMayChange()
  const address = `#/job/${job.id}`
  const note = noteOf(job)
  const { queue_position: position, place: rank = position } = job
  const hasRank = rank !== null && rank !== undefined && !job.cancel_requested
  return (
    <>
      {handle}
      {check && (
        <label class='job-check'>
          <input
            type='checkbox' aria-label={t.chooseName(name.slice(0, 80))} checked={check.isChosen}
            onClick={event => check.onToggle(event.shiftKey)}
          />
        </label>
      )}
      <a class='job-picture' href={address} tabindex={-1} aria-hidden='true' title={note}>{hasRank ? <span class='rank numbers'>{t.placeNumber(rank)}</span> : <JobPicture job={job} />}</a>
      <div class='job-text'>
        <h3><a href={address}>{name}</a></h3>
        {job.group && <GroupChip id={job.group} job={job} group={group} onChanged={onChanged} />}
        <p class='facts'>
          <span>{serverText(job)}</span>
          {job.status === 'pending' && job.background && <span class='chip'>{t.background}</span>}
          {timesOf(job).map(([text, title]) => <span key={title} title={title}>{text}</span>)}
          {obstacleText(job) && <span>{obstacleText(job)}</span>}
          {asker && <span title={t.askedForIt}>{asker}</span>}
          {job.images.length > 1 && <span>{t.imagesCount(job.images.length)}</span>}
          {job.status === 'pending' && job.priority !== 5 && <span>{t.priorityPriority(job.priority)}</span>}
          {width !== undefined && <span class='numbers minor'>{width} × {height}</span>}
          {steps !== undefined && <span class='numbers minor'>{t.stepsSteps(steps)}</span>}
        </p>
        {job.status === 'processing' && <JobProgress job={job} />}
        {job.error !== null && <p class='problem' title={job.error.message}>{job.error.message}</p>}
      </div>
      <div class={isOpen ? 'job-side open' : 'job-side'}>
        {/* A waiting job has no picture yet: its place among all stands there. */}
        {hasRank && <span class='out-of-sight'>{note}</span>}
        {!(hasRank && place) && <Status status={job.status} note={hasRank ? '' : note} />}
        <div class='actions'>
          {place}
          <JobActions job={job} isPlaced={Boolean(place)} onDone={onChanged} />
        </div>
        {mayChange(job) && (
          <button
            type='button' class='button quiet icon-only row-more' aria-expanded={isOpen} title={t.actions}
            aria-label={t.actionsFor(name.slice(0, 80))} onClick={() => setOpen(!isOpen)}
          ><Icon name={isOpen ? 'close' : 'more'} />
          </button>
        )}
      </div>
    </>
  )
}

function noteOf (job: ListedJob) {
  if (job.cancel_requested) return t.beingCancelled
  return placeText(job)
}

/** The times of a job with their explanations, the most important first. */
function timesOf (job: ListedJob): Array<readonly [string, string]> {
  const { creation_timestamp: created, started_timestamp: started, completion_timestamp: ended } = job
  const all: Array<readonly [string, string]> = job.status === 'processing' && started !== null
    ? [[t.runsFor(duration(started, null)), t.startedWhen(momentText(started))]]
    : job.status === 'pending'
      ? [
          [startText(job), t.expectedStart],
          [rangeText(job), t.expectedEndNineOfTen],
          [t.hereFor(duration(created, null)), t.acceptedWhen(momentText(created))]
        ]
      : [
          [ago(ended), t.endedWhen(momentText(ended))],
          [job.status === 'completed' && started !== null ? t.tookTime(duration(started, ended)) : '', t.acceptedWhen(momentText(created))]
        ]
  return all.filter(([text]) => text !== '')
}
