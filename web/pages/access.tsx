import { momentText, numberText } from '../lib/format.ts'
import { useCaller } from '../lib/caller.ts'
import { often, useLive } from '../lib/live.ts'
import { session } from '../lib/service.ts'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { Stale } from '../parts/stale.tsx'

const words = {
  submit_jobs: 'Submit jobs, and change, cancel and delete your own',
  see_jobs: 'See your own jobs',
  see_all_jobs: 'See the jobs of all',
  change_all_jobs: 'Change, cancel and delete the jobs of all',
  see_images: 'See images, previews and the gallery',
  see_models: 'See models',
  change_models: 'Scan, download, change and remove models',
  see_servers: 'See servers',
  change_servers: 'Add, change, pause and remove servers',
  change_queue: 'Pause all queues, change settings, and move jobs ahead of everybody\'s',
  manage_keys: 'Manage access keys',
  see_metrics: 'See metrics'
} as const

const limitText = (limit: number | null) => limit === null ? 'no limit' : numberText(limit)

/** What a person can do, how much of it, and how much it has used. */
export function AccessPage () {
  const who = useCaller()
  const { data, error } = useLive(() => session.read(), [], { interval: often })
  const { name, role, rights, limits, usage } = data ?? who
  const facts = [
    ['Waiting jobs', usage.waiting_left === null
      ? numberText(usage.waiting)
      : `${numberText(usage.waiting)} of ${limitText(limits.waiting_jobs)}; ${numberText(usage.waiting_left)} more can wait`],
    ['Running jobs', numberText(usage.running)],
    ['Jobs today', numberText(usage.jobs_today)],
    ['Requests a minute', usage.requests_left === null
      ? limitText(limits.requests_per_minute)
      : `${numberText(usage.requests_left)} of ${limitText(limits.requests_per_minute)} left`],
    ...usage.requests_full_at === null ? [] : [['All of them again', momentText(usage.requests_full_at)]],
    ...limits.share_weight === null ? [] : [['Share of the servers', `${limits.share_weight}, where a usual key has 1`]]
  ] as const
  return (
    <>
      <PageHead title='Your access' />
      {error !== null && data === undefined ? <Loading error={error} /> : <Stale error={error} />}
      <p class='lead'>You are signed in as <strong>{name}</strong>{role === 'admin' ? ', with all rights' : ''}.</p>
      <div class='job-details'>
        <section class='card' aria-labelledby='usage'>
          <h2 id='usage'>Limits and usage</h2>
          <dl class='facts-list usage'>{facts.map(([label, value]) => <div key={label}><dt>{label}</dt><dd>{value}</dd></div>)}</dl>
        </section>
        <section class='card' aria-labelledby='rights'>
          <h2 id='rights'>What you can do</h2>
          <ul class='plain-rows'>
            {(Object.keys(words) as Array<keyof typeof words>).filter(right => rights[right]).map(right => <li key={right}>{words[right]}</li>)}
          </ul>
        </section>
      </div>
    </>
  )
}
