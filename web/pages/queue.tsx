import type { Route } from '../lib/router.ts'
import type { Group, ListedJob, Server } from '../lib/api-types.ts'
import type { ComponentChildren } from 'preact'
import { addressOf } from '../lib/api.ts'
import { askerText } from '../lib/expectation.ts'
import { numberText } from '../lib/format.ts'
import { moveByKey } from '../lib/follow-row.ts'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { useLive } from '../lib/live.ts'
import { complain } from '../lib/messages.ts'
import { useJobPages, type JobFilter } from '../lib/pages-of-jobs.ts'
import { readGroups, readQueue, type QueuePart } from '../lib/queue-service.ts'
import { useKeyNames, useMayChange, useRights } from '../lib/caller.ts'
import { setQuery } from '../lib/router.ts'
import { useSelection } from '../lib/selection.ts'
import { jobs, servers, type QueueOverview } from '../lib/service.ts'
import { Icon } from '../parts/icon.tsx'
import { CountedAction } from '../parts/counted-action.tsx'
import { FailureCauses } from '../parts/failures.tsx'
import { JobRow } from '../parts/job-row.tsx'
import { ServerQueues } from '../parts/server-queues.tsx'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { DragHandle, PlaceControls } from '../parts/place-controls.tsx'
import { PauseAll, QueueSwitch } from '../parts/queue-switch.tsx'
import { SelectionBar } from '../parts/selection-bar.tsx'
import { Stale } from '../parts/stale.tsx'
import { statusWord } from '../parts/status.tsx'
import { VirtualList } from '../parts/virtual-list.tsx'
import { Welcome } from '../parts/welcome.tsx'
import { ServerFilter } from '../parts/server-filter.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/queue.ts'

/** Views beside the overview: one for each state, and one for all jobs. */
const views = ['processing', 'pending', 'completed', 'failed', 'cancelled', 'all'] as const
type View = typeof views[number] | ''

/** Waiting jobs that the overview shows; the view of waiting jobs has all. */
const shownWaiting = 20

/** Jobs that wait, run and finished, kept up to date. */
export function QueuePage ({ route }: { route: Route }) {
  const requestedView = views.find(each => each === route.query.get('status'))
  const server = route.query.get('server') ?? ''
  const search = route.query.get('search') ?? ''
  const view: View = requestedView ?? (search === '' ? '' : 'all')
  const rights = useRights()
  const { see_servers: seesServers } = rights
  // All at once, so that a change renders the page once.
  const { data, error, reload } = useLive(async signal => {
    const [overview, queue, known] = await Promise.all([
      jobs.overview(server, signal),
      readQueue({ server, limit: shownWaiting + 1 }, signal),
      seesServers ? servers.list(signal) : []
    ])
    const ended = overview.groups.ended.filter(({ group }) => !group || !queue.groups.has(group))
    const groups = new Map([...queue.groups, ...await readGroups(ended, signal)])
    return { overview, queue: { ...queue, groups }, known }
  }, [server, seesServers])
  const { overview, queue, known } = data ?? {}
  const pausing = { enabled: queue?.enabled, onChanged: reload }
  const isEmpty = overview !== undefined && server === '' && Object.values(overview.totals).every(total => total === 0)

  return (
    <>
      <PageHead title={common.queue}>
        <div class='actions'><PauseAll {...pausing} />{rights.submit_jobs && <a class='button primary' href='#/create'><Icon name='create' />{t.newJob}</a>}</div>
      </PageHead>
      <QueueSwitch {...pausing} />
      {view === '' && <Welcome servers={known} isEmpty={isEmpty} />}
      {view === '' && known !== undefined && known.length > 0 && !isEmpty && (
        <ServerQueues servers={known} running={queue?.running ?? []} enabled={queue?.enabled !== false} onChanged={reload} />
      )}
      <Filters
        route={route} view={view} server={server} search={search} servers={known ?? []}
        totals={overview?.totals}
      />
      {data !== undefined && <Stale error={error} />}
      {overview !== undefined && <p class='out-of-sight' role='status'>{t.jobsRunningWaiting({ processing: overview.totals.processing, pending: overview.totals.pending })}</p>}
      {view !== ''
        ? <JobList
            key={`${view} ${server}`} view={view}
            server={server || soleServer(known, view)} search={search} onChanged={reload}
          />
        : overview === undefined || queue === undefined
          ? <Loading error={error} />
          : <Overview data={overview} queue={queue} server={server} onChanged={reload} />}
    </>
  )
}

/** Positions exist within one server's queue only; with a single server, the page shows that queue. */
function soleServer (known: readonly Server[] | undefined, view: View) {
  return view === 'pending' && known?.length === 1 ? known[0]?.alias ?? '' : ''
}

/** What runs, what comes next over all servers, and what has ended. */
function Overview ({ data: { groups: { ended }, totals }, queue, server, onChanged }: {
  data: QueueOverview
  queue: QueuePart
  server: string
  onChanged: () => void
}) {
  const { running, waiting, groups, total_waiting: total } = queue
  const mayChange = useMayChange()
  const { submit_jobs: submits } = useRights()
  const nameOfKey = useKeyNames([...running, ...waiting, ...ended].map(job => job.api_key_id))
  const suffix = server === '' ? '' : `&server=${encodeURIComponent(server)}`
  const row = (job: ListedJob, more: Partial<Parameters<typeof JobRow>[0]> | false = {}) => (
    <li key={job.id} class='job'>
      <JobRow job={job} nameOfKey={nameOfKey} group={groupOf(groups, job)} onChanged={onChanged} {...more} />
    </li>
  )
  if (running.length + waiting.length + ended.length === 0) {
    return (
      <div class='empty'>
        <p>{t.noJobsYet}</p>
        {submits && <p>{t.createYourFirstImage(words => <a href='#/create'>{words}</a>, words => <a href={addressOf('/docs')}>{words}</a>)}</p>}
      </div>
    )
  }
  const shown = waiting.slice(0, shownWaiting)
  return (
    <>
      {running.length > 0 && (
        <section aria-labelledby='group-processing'>
          <div class='group-head'><h2 class='group-title' id='group-processing'>{common.running}</h2></div>
          <ul class='jobs running'>{running.map(job => row(job))}</ul>
        </section>
      )}
      {shown.length > 0 && (
        <section aria-labelledby='group-pending'>
          <div class='group-head'>
            <h2 class='group-title' id='group-pending'>{t.nextInQueue}</h2>
            {total > shown.length && <a href={`#/queue?status=pending${suffix}`}>{t.andMoreWaiting(total - shown.length)}</a>}
            <CancelWaiting server={server} onDone={onChanged} />
          </div>
          <ul class='jobs' onKeyDown={moveByKey} aria-label={t.waitingJobsInOrder}>
            {shown.map((job, index) => row(job, mayChange(job) && {
              handle: <DragHandle job={job} onChanged={onChanged} />,
              place: <PlaceControls job={job} before={waiting[index - 1]} after={waiting[index + 1]} onChanged={onChanged} />
            }))}
          </ul>
        </section>
      )}
      {ended.length > 0 && (
        <section aria-labelledby='group-ended'>
          <div class='group-head'>
            <h2 class='group-title' id='group-ended'>{t.recentlyFinished}</h2>
            {totals.failed > 0 && <a href={`#/queue?status=failed${suffix}`}>{t.failedJobsByCause(totals.failed)}</a>}
            <a href={`#/queue?status=all${suffix}`}>{t.allJobs}</a>
          </div>
          <ul class='jobs'>{ended.map(job => row(job))}</ul>
        </section>
      )}
    </>
  )
}

const groupOf = (groups: ReadonlyMap<string, Group>, { group }: ListedJob) => group ? groups.get(group) : undefined

/** All jobs of one state. Reads and renders only the visible ones. */
function JobList ({ view, server, search, onChanged }: {
  view: View
  server: string
  search: string
  onChanged: () => void
}) {
  const status = view === 'all' ? '' : view
  const isLine = status === 'pending' && search === ''
  const filter: JobFilter = { status, server, search, order: isLine ? 'line' : status === 'pending' ? 'asc' : 'desc' }
  const pages = useJobPages(filter)
  const selection = useSelection(search, pages.idsBetween)
  const { total, shown, asOf, at, show, reload, error } = pages
  const mayChange = useMayChange()
  const [inSight, setInSight] = useState<readonly [number, number]>([0, 0])
  const seen = Array.from({ length: inSight[1] - inSight[0] + 1 }, (_, index) => at(inSight[0] + index)?.api_key_id)
  const nameOfKey = useKeyNames(seen)
  const drawn = useRef<Map<number, { about: unknown[], content: ComponentChildren }>>(new Map())
  const onShow = useCallback((from: number, to: number) => {
    show(from, to)
    setInSight([from, to])
  }, [show])
  const changed = () => {
    reload()
    onChanged()
  }

  if (total === undefined) return <Loading error={error} />
  if (total === 0) return <p class='empty'>{t.noJobMatchesThese}</p>

  /** Returns the same row while nothing about it changes, so that scrolling renders only new rows. */
  function row (index: number) {
    const job = at(index)
    if (job === undefined) return <div class='job-unread' aria-label={t.loading} />
    const about = [
      job, at(index - 1)?.id, at(index + 1)?.id, selection.state, pages.groupOf(job.group), askerText(job, nameOfKey)
    ]
    const before = drawn.current.get(index)
    if (before?.about.every((part, place) => part === about[place])) return before.content
    const content = draw(index, job)
    drawn.current.set(index, { about, content })
    return content
  }

  function draw (index: number, job: ListedJob) {
    const check = !mayChange(job)
      ? undefined
      : {
          isChosen: selection.has(job.id),
          onToggle (withShift: boolean) { selection.toggle(index, job.id, withShift).catch(complain) }
        }
    const isMovable = isLine && mayChange(job)
    const place = isMovable && <PlaceControls job={job} before={at(index - 1)} after={at(index + 1)} onChanged={changed} />
    const group = pages.groupOf(job.group)
    return (
      <JobRow
        key={job.id} {...{ job, nameOfKey, group, check, place }} onChanged={changed}
        handle={isMovable && <DragHandle job={job} onChanged={changed} />}
      />
    )
  }

  return (
    <>
      <h2 class='out-of-sight'>{t.jobs}</h2>
      {isLine && (
        <div class='group-head'>
          <p class='hint'>{t.inOrderInWhich}</p>
          <CancelWaiting server={server} onDone={changed} />
        </div>
      )}
      {status === 'failed' && <FailureCauses server={server} onChanged={changed} />}
      {shown < total && <p class='hint' role='status'>{t.firstOfJobs({ shown, total })}</p>}
      <VirtualList total={shown} label={t.jobs} onShow={onShow} row={row} onKeyDown={moveByKey} />
      <SelectionBar selection={selection} total={total} asOf={asOf} filter={filter} onDone={changed} />
    </>
  )
}

/** Cancels what waits, after a look at how many these are. */
function CancelWaiting ({ server, onDone }: { server: string, onDone: () => void }) {
  const rights = useRights()
  if (!rights.submit_jobs) return null
  return (
    <CountedAction
      request={{ action: 'cancel', filter: { status: 'pending', ...server === '' ? {} : { server } } }} label={t.cancelAllWaiting}
      icon='stop' question={t.cancelCount} act={t.cancelJobs} sentence={t.runningJobsGoOn} onDone={onDone}
    />
  )
}

function Filters ({ route, view, server, search, servers: known, totals }: {
  route: Route
  view: View
  server: string
  search: string
  servers: readonly Server[]
  totals?: QueueOverview['totals']
}) {
  const [typed, setTyped] = useState(search)
  useEffect(() => {
    const timer = setTimeout(() => { if (typed !== search) setQuery(route, { search: typed }) }, 250)
    return () => clearTimeout(timer)
  }, [typed])
  const all = totals === undefined ? undefined : Object.values(totals).reduce((sum, count) => sum + count, 0)
  const aliases = [...new Set([...known.map(({ alias }) => alias), server].filter(Boolean))]
  const countOf = (each: View) => each === '' ? undefined : each === 'all' ? all : totals?.[each]

  return (
    <div class='filters' role='search' aria-label={t.jobs}>
      <div class='tabs' role='group' aria-label={t.state}>
        {(['', ...views] as const).map(each => (
          <button
            key={each} type='button' class='tab' aria-pressed={view === each ? 'true' : 'false'}
            onClick={() => { if (each === '') setTyped(''); setQuery(route, each === '' ? { status: '', search: '' } : { status: each }) }}
          >
            {each === '' ? t.overview : each === 'all' ? common.all : statusWord(each)} {countOf(each) !== undefined && <span class='count numbers'>{numberText(countOf(each) ?? 0)}</span>}
          </button>
        ))}
      </div>
      <div class='narrowing'>
        {aliases.length > 1 && (
          <ServerFilter route={route} value={server} aliases={aliases} />
        )}
        <input
          type='search' aria-label={t.searchPrompts} placeholder={t.searchPrompts} value={typed}
          onInput={event => setTyped(event.currentTarget.value)}
        />
      </div>
    </div>
  )
}
