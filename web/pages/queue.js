import { addressOf, sentenceOf } from '../lib/api.js'
import { numberText, plural } from '../lib/format.js'
import { html, useCallback, useEffect, useRef, useState } from '../lib/html.js'
import { readOverview, statuses } from '../lib/job-feed.js'
import { useLive } from '../lib/live.js'
import { useJobPages } from '../lib/pages-of-jobs.js'
import { setQuery } from '../lib/router.js'
import { useSelection } from '../lib/selection.js'
import { servers } from '../lib/service.js'
import { Icon } from '../parts/icon.js'
import { JobRow } from '../parts/job-row.js'
import { ServerQueues } from '../parts/server-queues.js'
import { Loading, PageHead } from '../parts/page-head.js'
import { PlaceControls } from '../parts/place-controls.js'
import { QueueSwitch } from '../parts/queue-switch.js'
import { SelectionBar } from '../parts/selection-bar.js'
import { Stale } from '../parts/stale.js'
import { statusWord } from '../parts/status.js'
import { VirtualList } from '../parts/virtual-list.js'
import { Welcome } from '../parts/welcome.js'

/** Views beside the overview: one for each state, and one for all jobs. */
const views = [...statuses, 'all']

/** Jobs that wait, run and finished, kept up to date. */
export function QueuePage ({ route }) {
  const requestedView = route.query.get('status')
  const server = route.query.get('server') ?? ''
  const search = route.query.get('search') ?? ''
  const view = views.includes(requestedView) ? requestedView : search === '' ? '' : 'all'
  const known = useLive(signal => servers.list(signal), [])
  const { data, error, reload } = useLive(signal => readOverview({ server }, signal), [server])
  const changed = () => {
    reload()
    known.reload()
  }
  const isEmpty = data !== undefined && server === '' && Object.values(data.totals).every(total => total === 0)

  return html`
    <${PageHead} title="Queue"><a class="button primary" href="#/create"><${Icon} name="create" />New job</a><//>
    <${QueueSwitch} />
    ${view === '' && html`<${Welcome} servers=${known.data} isEmpty=${isEmpty} />`}
    ${view === '' && known.data?.length > 0 && !isEmpty && html`
      <${ServerQueues} servers=${known.data} running=${data?.groups.processing ?? []} onChanged=${changed} />`}
    <${Filters} route=${route} view=${view} server=${server} search=${search} servers=${known.data ?? []} totals=${data?.totals} />
    ${data !== undefined && html`<${Stale} error=${error} />`}
    ${data !== undefined && html`
      <p class="out-of-sight" role="status">${plural(data.totals.processing, 'job')} running, ${data.totals.pending} waiting</p>`}
    ${view !== ''
      ? html`<${JobList} key=${`${view} ${server}`} view=${view} server=${server || soleServer(known.data, view)} search=${search} onChanged=${changed} />`
      : data === undefined
        ? html`<${Loading} error=${error} sentence=${sentenceOf(error)} />`
        : html`<${Overview} data=${data} server=${server} onChanged=${changed} />`}`
}

/** Positions exist within one server's queue only; with a single server, the page shows that queue. */
function soleServer (known = [], view) {
  return view === 'pending' && known.length === 1 ? known[0].alias : ''
}

const titles = { processing: 'Running', pending: 'Next in queue', ended: 'Recently finished' }

function Overview ({ data: { groups, totals }, server, onChanged }) {
  const more = { pending: totals.pending - groups.pending.length, ended: 0, processing: 0 }
  const suffix = server === '' ? '' : `&server=${encodeURIComponent(server)}`
  if (Object.values(groups).every(found => found.length === 0)) {
    return html`
      <div class="empty">
        <p>No jobs yet.</p>
        <p><a href="#/create">Create your first image</a>, or send a job with the <a href=${addressOf('/docs')}>API</a>.</p>
      </div>`
  }
  return Object.entries(groups).map(([name, found]) => found.length > 0 && html`
    <section key=${name} aria-labelledby="group-${name}">
      <div class="group-head">
        <h2 class="group-title" id="group-${name}">${titles[name]}</h2>
        ${more[name] > 0 && html`<a href="#/queue?status=pending${suffix}">and ${more[name]} more waiting</a>`}
        ${name === 'ended' && html`<a href="#/queue?status=all${suffix}">All jobs</a>`}
      </div>
      <ul class="jobs">
        ${found.map(job => html`<li key=${job.id} class="job"><${JobRow} job=${job} onChanged=${onChanged} /></li>`)}
      </ul>
    </section>`)
}

/** All jobs of one state. Reads and renders only the visible ones. */
function JobList ({ view, server, search, onChanged }) {
  const status = view === 'all' ? '' : view
  const isLine = status === 'pending' && search === ''
  const filter = { status, server, search, order: isLine ? 'line' : status === 'pending' ? 'asc' : 'desc' }
  const pages = useJobPages(filter)
  const selection = useSelection(pages.idsBetween)
  const { total, shown, asOf, at, show, reload, error } = pages
  const drawn = useRef(new Map())
  const onShow = useCallback((from, to) => { show(from, to) }, [show])
  const changed = () => {
    reload()
    onChanged()
  }

  if (total === undefined) return html`<${Loading} error=${error} sentence=${error && sentenceOf(error)} />`
  if (total === 0) return html`<p class="empty">No job matches these filters.</p>`

  /** Returns the same row while nothing about it changes, so that scrolling renders only new rows. */
  function row (index) {
    const job = at(index)
    if (job === undefined) return html`<div class="job-unread" aria-label="Loading"></div>`
    const about = [job, at(index - 1)?.id, at(index + 1)?.id, selection.state]
    const before = drawn.current.get(index)
    if (before?.about.every((part, place) => part === about[place])) return before.content
    const content = draw(index, job)
    drawn.current.set(index, { about, content })
    return content
  }

  function draw (index, job) {
    const check = { isChosen: selection.has(job.id), onToggle: withShift => selection.toggle(index, job.id, withShift) }
    const place = isLine && html`
      <${PlaceControls} job=${job} before=${at(index - 1)} after=${at(index + 1)} onChanged=${changed} />`
    return html`<${JobRow} key=${job.id} job=${job} check=${check} place=${place} onChanged=${changed} />`
  }

  return html`
    <h2 class="out-of-sight">Jobs</h2>
    ${isLine && html`<p class="hint">In the order in which they run.</p>`}
    ${shown < total && html`<p class="hint" role="status">The first ${numberText(shown)} of ${numberText(total)} jobs.</p>`}
    <${VirtualList} total=${shown} label="Jobs" onShow=${onShow} row=${row} />
    <${SelectionBar} selection=${selection} total=${total} asOf=${asOf} filter=${filter} onDone=${changed} />`
}

function Filters ({ route, view, server, search, servers: known, totals }) {
  const [typed, setTyped] = useState(search)
  useEffect(() => {
    const timer = setTimeout(() => { if (typed !== search) setQuery(route, { search: typed }) }, 250)
    return () => clearTimeout(timer)
  }, [typed])
  const all = totals === undefined ? undefined : Object.values(totals).reduce((sum, count) => sum + count, 0)
  const aliases = [...new Set([...known.map(({ alias }) => alias), server].filter(Boolean))]
  const words = { '': 'Overview', all: 'All' }
  const countOf = each => each === '' ? undefined : each === 'all' ? all : totals?.[each]

  return html`
    <div class="filters" role="search" aria-label="Jobs">
      <div class="tabs" role="group" aria-label="State">
        ${['', ...views].map(each => html`
          <button key=${each} type="button" class="tab" aria-pressed=${view === each ? 'true' : 'false'}
            onClick=${() => { if (each === '') setTyped(''); setQuery(route, each === '' ? { status: '', search: '' } : { status: each }) }}>
            ${words[each] ?? statusWord(each)} ${countOf(each) !== undefined && html`<span class="count numbers">${countOf(each)}</span>`}
          </button>`)}
      </div>
      ${aliases.length > 1 && html`
        <select aria-label="Server" value=${server} onChange=${event => setQuery(route, { server: event.currentTarget.value })}>
          <option value="" selected=${server === ''}>All servers</option>
          ${aliases.map(alias => html`<option key=${alias} value=${alias} selected=${alias === server}>${alias}</option>`)}
        </select>`}
      <input type="search" aria-label="Search prompts" placeholder="Search prompts" value=${typed}
        onInput=${event => setTyped(event.currentTarget.value)} />
    </div>`
}
