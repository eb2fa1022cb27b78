import type { Job, JobStatus } from '../lib/api-types.ts'
import type { ComponentChildren } from 'preact'
import { adviceFor } from '../lib/advice.ts'
import { ApiError } from '../lib/api.ts'
import { downloadText } from '../lib/download.ts'
import { endText, placeText, reasonText, serverText, startText } from '../lib/expectation.ts'
import { bytesText, duration, momentText } from '../lib/format.ts'
import { isEnlarging } from '../lib/inputs.ts'
import { useViewer } from '../lib/viewer.ts'
import { useRights } from '../lib/caller.ts'
import { aboutJob, useLive, useProgress } from '../lib/live.ts'
import { groupsOf } from '../lib/parameters.ts'
import { backTo } from '../lib/place.ts'
import { goTo, type Route } from '../lib/router.ts'
import { jobs } from '../lib/service.ts'
import { CopyButton } from '../parts/copy-button.tsx'
import { Icon } from '../parts/icon.tsx'
import { JobActions } from '../parts/job-actions.tsx'
import { JobDeliveries } from '../parts/job-deliveries.tsx'
import { JobImages } from '../parts/job-images.tsx'
import { JobInputs } from '../parts/job-inputs.tsx'
import { JobProgress } from '../parts/job-progress.tsx'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { Preview } from '../parts/preview.tsx'
import { Stale } from '../parts/stale.tsx'
import { Status } from '../parts/status.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/job.ts'

const active = ['pending', 'processing']

/** All details of one job. */
export function JobPage ({ route }: { route: Route }) {
  const { id } = route
  const { data, error, reload } = useLive(signal => jobs.read(id, signal), [id], { about: aboutJob(id) })
  const rights = useRights()
  const job = useProgress(data)
  const viewer = useViewer(route)
  if (job === undefined) {
    const isGone = error instanceof ApiError && error.status === 404
    return (
      <>
        <PageHead title={isGone ? t.thereIsNoSuch : common.job} />
        <Loading error={error} />
        <p class='back'><a href='#/queue' onClick={backTo('queue')}><Icon name='back' />{t.backToQueue}</a></p>
      </>
    )
  }
  const prompt = job.generation_params.prompt
  return (
    <>
      <p class='back'><a href='#/queue' onClick={backTo('queue')}><Icon name='back' />{common.queue}</a></p>
      <PageHead title={prompt || (isEnlarging(job) ? t.upscalingImage : t.jobWithoutPrompt)}>
        <div class='actions'>
          <JobActions job={job} onDone={action => action === 'remove' ? goTo('/queue') : reload()} />
          {rights.submit_jobs && !isEnlarging(job) && <a class='button' href={`#/create?from=${job.id}`}><Icon name='pen' />{t.submitAgainWithChanges}</a>}
        </div>
      </PageHead>
      <Stale error={error} />
      <p class='job-status' role='status'>
        <Status status={job.status} note={noteOf(job)} />
        <span class='muted'>{[t.onServerText(serverText(job)), reasonText(job), startText(job), endText(job)].filter(Boolean).join(', ')}</span>
      </p>
      {job.status === 'processing' && <JobProgress job={job} />}
      <Failure error={job.error} />
      {job.warnings.map(warning => <p key={warning.message} class='notice warning-notice'><Icon name='warning' /> {warning.message}</p>)}
      <JobImages job={job} viewer={viewer} />
      {job.images.length === 0 && active.includes(job.status) && (job.preview_url && rights.see_images
        ? <Preview src={job.preview_url} alt={t.preview}><p class='empty'>{t.imagesWillAppearHere}</p></Preview>
        : <p class='empty'>{t.imagesWillAppearHere}</p>)}
      <div class='job-details'>
        <Parameters job={job} />
        <div class='stack'>
          <section class='card' aria-labelledby='history'>
            <h2 id='history'>{t.history}</h2>
            <History job={job} />
            <Facts facts={factsOf(job)} />
          </section>
          <JobDeliveries job={job} />
        </div>
      </div>
    </>
  )
}

function noteOf (job: Job) {
  if (job.cancel_requested) return t.beingCancelled
  return placeText(job)
}

function Failure ({ error }: { error: Job['error'] }) {
  if (error === null) return null
  const what = adviceFor(error.code)
  return (
    <div class='notice problem-notice' role='alert'>
      <p>{error.message} <code>{error.code}</code></p>
      {what && <p>{what}</p>}
    </div>
  )
}

function Parameters ({ job }: { job: Job }) {
  const { prompt, negative_prompt: negative } = job.generation_params
  const json = JSON.stringify(job.generation_params, null, 2)
  return (
    <section class='card' aria-labelledby='parameters'>
      <h2 id='parameters'>{t.parameters}</h2>
      {prompt && <p class='prompt'><span class='label'>{common.prompt}</span>{prompt}</p>}
      {negative && <p class='prompt'><span class='label'>{common.negativePrompt}</span>{negative}</p>}
      <JobInputs job={job} />
      {groupsOf(job.generation_params).map(({ title, facts }) => <section key={title}><h3>{title}</h3><Facts facts={facts} /></section>)}
      <div class='actions'>
        <CopyButton label={t.copy} copied={t.parametersCopied} text={json} />
        <button
          type='button' class='button'
          onClick={() => downloadText(`job-${job.id}.json`, JSON.stringify(job, null, 2))}
        >
          <Icon name='download' />{t.downloadAsJson}
        </button>
      </div>
    </section>
  )
}

function Facts ({ facts }: { facts: ReadonlyArray<readonly [string, ComponentChildren]> }) {
  return <dl class='facts-list'>{facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
}

function factsOf (job: Job): Array<readonly [string, string]> {
  const bytes = job.images.reduce((sum, image) => sum + image.bytes, 0)
  return [
    [common.job, job.id],
    [t.priority, job.background ? t.priorityInBackground(job.priority) : String(job.priority)],
    ...job.checkpoint_used === null ? [] : [[t.checkpointUsed, job.checkpoint_used] as const],
    [t.sentBy, channels[job.channel]],
    // Clients name themselves, so the label says no more than that.
    [t.client, t.itsOwnWord(job.source_info)],
    ...job.user_id === null ? [] : [[t.user, job.user_id] as const],
    ...job.bulk_job_id === null ? [] : [[t.bulk, job.bulk_job_id] as const],
    ...job.images.length > 0
      ? [[t.images, t.imagesOfSize({ count: job.images.length, size: bytesText(bytes) })] as const]
      : []
  ]
}

/** The interfaces by which jobs arrive. */
const channels: Readonly<Record<Job['channel'], string>> = {
  ui: t.webUi, api: t.theApi, sdapi: t.apiOfA1111, openai: t.apiOfOpenai, bot: t.apiForBotsAnd
}

const ends: Readonly<Partial<Record<JobStatus, string>>> = { completed: t.completed, failed: common.failed, cancelled: common.cancelled }

function endOf ({ status, started_timestamp: started }: Job, ended: string) {
  const end = ends[status] ?? t.ended
  return started === null ? end : t.endedAfter({ end, time: duration(started, ended) })
}

/** The job's history, oldest first. */
function History ({ job }: { job: Job }) {
  const { started_timestamp: started, completion_timestamp: ended } = job
  const steps: Array<{ at: string, what: string, problem?: Job['attempts'][number] }> = [
    { at: job.creation_timestamp, what: t.accepted },
    ...job.attempts.map(attempt => ({
      at: attempt.started_at,
      what: t.attemptOn({
        run: attempt.run, server: attempt.server, time: duration(attempt.started_at, attempt.ended_at)
      }),
      problem: attempt
    })),
    ...started !== null && !job.attempts.some(attempt => attempt.started_at === started)
      ? [{ at: started, what: t.startedOn(job.target_server_alias) }]
      : [],
    ...ended === null ? [] : [{ at: ended, what: endOf(job, ended) }]
  ]
  return (
    <ol class='timeline'>
      {steps.toSorted((one, other) => Date.parse(one.at) - Date.parse(other.at)).map(({ at, what, problem }, index) => (
        <li key={index}>
          <p>{what}</p>
          <p class='hint'>{momentText(at)}</p>
          {problem && <p class='problem'>{problem.message} <code>{problem.code}</code></p>}
        </li>
      ))}
    </ol>
  )
}
