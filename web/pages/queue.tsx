import type { Route } from '../lib/router.ts'
import type { ListedJob, Server } from '../lib/api-types.ts'
import type { ComponentChildren } from 'preact'
import { addressOf } from '../lib/api.ts'
import { numberText, plural } from '../lib/format.ts'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { useLive } from '../lib/live.ts'
import { useJobPages, type JobFilter } from '../lib/pages-of-jobs.ts'
import { setQuery } from '../lib/router.ts'
import { useSelection } from '../lib/selection.ts'
import { jobs, servers, type QueueOverview } from '../lib/service.ts'
import { Icon } from '../parts/icon.tsx'
import { JobRow } from '../parts/job-row.tsx'
import { ServerQueues } from '../parts/server-queues.tsx'
import { Loading, PageHead } from '../parts/page-head.tsx'
import { moveByKey, PlaceControls } from '../parts/place-controls.tsx'
import { QueueSwitch } from '../parts/queue-switch.tsx'
import { SelectionBar } from '../parts/selection-bar.tsx'
import { Stale } from '../parts/stale.tsx'
import { statusWord } from '../parts/status.tsx'
import { VirtualList } from '../parts/virtual-list.tsx'
import { Welcome } from '../parts/welcome.tsx'

/** Views beside the overview: one for each state, and one for all jobs. */
const views = ['processing', 'pending', 'completed', 'failed', 'cancelled', 'all'] as const
type View = typeof views[number] | ''

/** Jobs that wait, run and finished, kept up to date. */
export function QueuePage ({ route }: { route: Route }) {
  const requestedView = views.find(each => each === route.query.get('status'))
  const server = route.query.get('server') ?? ''
  const search = route.query.get('search') ?? ''
  const view: View = requestedView ?? (search === '' ? '' : 'all')
  const known = useLive(signal => servers.list(signal), [])
  const { data, error, reload } = useLive(signal => jobs.overview(server, signal), [server])
  const changed = () => {
    reload()
    known.reload()
  }
  const isEmpty = data !== undefined && server === '' && Object.values(data.totals).every(total => total === 0)

  return (
    <>
      <PageHead title='Queue'><a class='button primary' href='#/create'><Icon name='create' />New job</a></PageHead>
      <QueueSwitch />
      {view === '' && <Welcome servers={known.data} isEmpty={isEmpty} />}
      {view === '' && known.data !== undefined && known.data.length > 0 && !isEmpty && <ServerQueues
        servers={known.data}
        running={data?.groups.processing ?? []} onChanged={changed}
                                                                                       />}
      <Filters
        route={route} view={view} server={server} search={search} servers={known.data ?? []}
        totals={data?.totals}
      />
      {data !== undefined && <Stale error={error} />}
      {data !== undefined && <p class='out-of-sight' role='status'>{plural(data.totals.processing, 'job')} running, {data.totals.pending} waiting</p>}
      {view !== ''
        ? <JobList
            key={`${view} ${server}`} view={view}
            server={server || soleServer(known.data, view)} search={search} onChanged={changed}
          />
        : data === undefined
          ? <Loading error={error} />
          : <Overview data={data} server={server} onChanged={changed} />}
    </>
  )
}

/** Positions exist within one server's queue only; with a single server, the page shows that queue. */
function soleServer (known: readonly Server[] | undefined, view: View) {
  return view === 'pending' && known?.length === 1 ? known[0]?.alias ?? '' : ''
}

const titles = { processing: 'Running', pending: 'Next in queue', ended: 'Recently finished' }

function Overview ({ data: { groups, totals }, server, onChanged }: {
  data: QueueOverview
  server: string
  onChanged: () => void
}) {
  const more = { pending: totals.pending - groups.pending.length, ended: 0, processing: 0 }
  const suffix = server === '' ? '' : `&server=${encodeURIComponent(server)}`
  if (Object.values(groups).every(found => found.length === 0)) {
    return (
      <div class='empty'>
        <p>No jobs yet.</p>
        <p><a href='#/create'>Create your first image</a>, or send a job with the <a href={addressOf('/docs')}>API</a>.</p>
      </div>
    )
  }
  return (['processing', 'pending', 'ended'] as const).map(name => groups[name].length > 0 && (
    <section key={name} aria-labelledby={`group-${name}`}>
      <div class='group-head'>
        <h2 class='group-title' id={`group-${name}`}>{titles[name]}</h2>
        {more[name] > 0 && <a href={`#/queue?status=pending${suffix}`}>and {more[name]} more waiting</a>}
        {name === 'ended' && <a href={`#/queue?status=all${suffix}`}>All jobs</a>}
      </div>
      <ul class='jobs'>
        {groups[name].map(job => <li key={job.id} class='job'><JobRow job={job} onChanged={onChanged} /></li>)}
      </ul>
    </section>
  ))
}

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
  const selection = useSelection(pages.idsBetween)
  const { total, shown, asOf, at, show, reload, error } = pages
  const drawn = useRef<Map<number, { about: unknown[], content: ComponentChildren }>>(new Map())
  const onShow = useCallback((from: number, to: number) => { show(from, to) }, [show])
  const changed = () => {
    reload()
    onChanged()
  }

  if (total === undefined) return <Loading error={error} />
  if (total === 0) return <p class='empty'>No job matches these filters.</p>

  /** Returns the same row while nothing about it changes, so that scrolling renders only new rows. */
  function row (index: number) {
    const job = at(index)
    if (job === undefined) return <div class='job-unread' aria-label='Loading' />
    const about = [job, at(index - 1)?.id, at(index + 1)?.id, selection.state]
    const before = drawn.current.get(index)
    if (before?.about.every((part, place) => part === about[place])) return before.content
    const content = draw(index, job)
    drawn.current.set(index, { about, content })
    return content
  }

  function draw (index: number, job: ListedJob) {
    const check = {
      isChosen: selection.has(job.id),
      onToggle (withShift: boolean) { selection.toggle(index, job.id, withShift) }
    }
    const place = isLine && <PlaceControls job={job} before={at(index - 1)} after={at(index + 1)} onChanged={changed} />
    return <JobRow key={job.id} job={job} check={check} place={place} onChanged={changed} />
  }

  return (
    <>
      <h2 class='out-of-sight'>Jobs</h2>
      {isLine && <p class='hint'>In the order in which they run.</p>}
      {shown < total && <p class='hint' role='status'>The first {numberText(shown)} of {numberText(total)} jobs.</p>}
      <VirtualList total={shown} label='Jobs' onShow={onShow} row={row} onKeyDown={moveByKey} />
      <SelectionBar selection={selection} total={total} asOf={asOf} filter={filter} onDone={changed} />
    </>
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
    <div class='filters' role='search' aria-label='Jobs'>
      <div class='tabs' role='group' aria-label='State'>
        {(['', ...views] as const).map(each => (
          <button
            key={each} type='button' class='tab' aria-pressed={view === each ? 'true' : 'false'}
            onClick={() => { if (each === '') setTyped(''); setQuery(route, each === '' ? { status: '', search: '' } : { status: each }) }}
          >
            {each === '' ? 'Overview' : each === 'all' ? 'All' : statusWord(each)} {countOf(each) !== undefined && <span class='count numbers'>{countOf(each)}</span>}
          </button>
        ))}
      </div>
      {aliases.length > 1 && (
        <select
          aria-label='Server' value={server}
          onChange={event => setQuery(route, { server: event.currentTarget.value })}
        >
          <option value='' selected={server === ''}>All servers</option>
          {aliases.map(alias => <option key={alias} value={alias} selected={alias === server}>{alias}</option>)}
        </select>
      )}
      <input
        type='search' aria-label='Search prompts' placeholder='Search prompts' value={typed}
        onInput={event => setTyped(event.currentTarget.value)}
      />
    </div>
  )
}
