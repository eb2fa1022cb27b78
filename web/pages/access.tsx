import { momentText, numberText } from '../lib/format.ts'
import { useCaller } from '../lib/caller.ts'
import { often, useLive } from '../lib/live.ts'
import { session } from '../lib/service.ts'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { Stale } from '../parts/stale.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/keys.ts'

const words = {
  submit_jobs: t.submitJobsAndChange,
  see_jobs: t.seeYourOwnJobs,
  see_all_jobs: t.seeJobsOfAll,
  change_all_jobs: t.changeCancelAndDelete,
  see_images: t.seeImagesPreviewsAnd,
  see_models: t.seeModels,
  change_models: t.scanDownloadChangeAnd,
  see_servers: t.seeServers,
  change_servers: t.addChangePauseAnd,
  change_queue: t.pauseAllQueuesChange,
  manage_keys: t.manageAccessKeys,
  see_metrics: t.seeMetrics
} as const

const limitText = (limit: number | null) => limit === null ? t.noLimit : numberText(limit)

/** What a person can do, how much of it, and how much it has used. */
export function AccessPage () {
  const who = useCaller()
  const { data, error } = useLive(() => session.read(), [], { interval: often })
  const { name, role, rights, limits, usage } = data ?? who
  const facts = [
    [t.waitingJobs, usage.waiting_left === null
      ? numberText(usage.waiting)
      : t.waitingOf({
          waiting: usage.waiting, limitText: limitText(limits.waiting_jobs), waitingLeft: usage.waiting_left
        })],
    [t.runningJobs, numberText(usage.running)],
    [t.jobsToday, numberText(usage.jobs_today)],
    [t.requestsAMinuteLabel, usage.requests_left === null
      ? limitText(limits.requests_per_minute)
      : t.ofLeft({ requestsLeft: usage.requests_left, limitText: limitText(limits.requests_per_minute) })],
    ...usage.requests_full_at === null ? [] : [[t.allOfThemAgain, momentText(usage.requests_full_at)]],
    ...limits.background ? [[t.jobsOf, t.yields]] : [],
    ...limits.share_weight === null ? [] : [[t.shareOfServers, t.shareWeight(limits.share_weight)]]
  ] as const
  return (
    <>
      <PageHead title={common.yourAccess} />
      {error !== null && data === undefined ? <Loading error={error} /> : <Stale error={error} />}
      <p class='lead'>{(role === 'admin' ? t.signedInWithAllRights : t.signedIn)(<strong>{name}</strong>)}</p>
      <div class='job-details'>
        <section class='card' aria-labelledby='usage'>
          <h2 id='usage'>{t.limitsAndUsage}</h2>
          <dl class='facts-list usage'>{facts.map(([label, value]) => <div key={label}><dt>{label}</dt><dd>{value}</dd></div>)}</dl>
        </section>
        <section class='card' aria-labelledby='rights'>
          <h2 id='rights'>{t.whatYouCanDo}</h2>
          <ul class='plain-rows'>
            {(Object.keys(words) as Array<keyof typeof words>).filter(right => rights[right]).map(right => <li key={right}>{words[right]}</li>)}
          </ul>
        </section>
      </div>
    </>
  )
}
