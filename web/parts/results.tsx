import { adviceFor } from '../lib/advice.ts'
import { endText, placeText, reasonText, startText } from '../lib/expectation.ts'
import { aboutJob, useLive, useProgress } from '../lib/live.ts'
import { useRights } from '../lib/caller.ts'
import { jobs } from '../lib/service.ts'
import { ResultImages } from './job-images.tsx'
import { JobProgress } from './job-progress.tsx'
import { Preview } from './preview.tsx'
import { Status } from './status.tsx'
import { AskToTell } from './telling.tsx'
import { t } from '../texts/en/create.ts'

/** A job that the user submitted; label: what differs from the others, can be empty. */
export interface Submitted {
  readonly id: string
  readonly label: string
}

/**
 * The results of the jobs that the user submitted here.
 */
export function Results ({ submitted }: { submitted: readonly Submitted[] }) {
  if (submitted.length === 0) return <p class='empty'>{t.resultsAppearHere}</p>
  return (
    <>
      <AskToTell />
      <ul class={submitted.length > 1 ? 'results many' : 'results'}>
        {submitted.map(({ id, label }) => <li key={id}><Result id={id} label={label} /></li>)}
      </ul>
    </>
  )
}

function Result ({ id, label }: { id: string, label: string }) {
  const { data } = useLive(signal => jobs.read(id, signal), [id], { about: aboutJob(id) })
  const job = useProgress(data)
  const { see_images: sees } = useRights()
  if (job === undefined) return <p class='empty'>{t.inQueue}</p>
  return (
    <>
      {label && <h3>{label}</h3>}
      <p class='job-status' role='status'>
        <Status status={job.status} note={placeText(job)} />
        {job.status === 'pending' && <span class='muted'>{[reasonText(job), startText(job), endText(job)].filter(Boolean).join(', ')}</span>}
        <a href={`#/job/${job.id}`}>{t.details}</a>
      </p>
      {job.status === 'processing' && <JobProgress job={job} />}
      {job.error !== null && (
        <div class='notice problem-notice'>
          <p>{job.error.message}</p>
          {adviceFor(job.error.code) && <p>{adviceFor(job.error.code)}</p>}
        </div>
      )}
      {job.warnings.map(({ message }) => <p key={message} class='hint'>{message}</p>)}
      {job.images.length === 0 && job.error === null && (job.preview_url && sees
        ? <Preview src={job.preview_url} alt={t.preview}><p class='empty'>{job.generation_params.prompt}</p></Preview>
        : <p class='empty'>{job.generation_params.prompt}</p>)}
      <ResultImages job={job} />
    </>
  )
}
