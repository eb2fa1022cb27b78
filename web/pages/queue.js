import { sentenceOf } from '../lib/api.js'
import { plural } from '../lib/format.js'
import { html, useEffect, useState } from '../lib/html.js'
import { readQueue, statuses } from '../lib/job-feed.js'
import { seldom, useLive } from '../lib/live.js'
import { setQuery } from '../lib/router.js'
import { servers } from '../lib/service.js'
import { JobRow } from '../parts/job-row.js'
import { Loading, PageHead } from '../parts/page-head.js'
import { statusWord } from '../parts/status.js'
import { Welcome } from '../parts/welcome.js'

const pageSize = 25
const titles = { processing: 'Running', pending: 'Waiting', ended: 'Ended' }

/** What waits, runs and ended, kept up to date. */
export function QueuePage ({ route }) {
  const status = statuses.includes(route.query.get('status')) ? route.query.get('status') : ''
  const server = route.query.get('server') ?? ''
  const search = route.query.get('search') ?? ''
  const [size, setSize] = useState(pageSize)
  const known = useLive(signal => servers.list(signal), [], seldom)
  const { data, error, reload } = useLive(signal => readQueue({ status, server, search, size }, signal),
    [status, server, search, size])
  const isFiltered = status !== '' || server !== '' || search !== ''
  const isEmpty = data !== undefined && Object.values(data.totals).every(total => total === 0)

  return html`
    <${PageHead} title="Queue"><a class="button primary" href="#/create">New job</a><//>
    <${Welcome} servers=${known.data} isEmpty=${isEmpty && !isFiltered} />
    <${Filters} route=${route} status=${status} server=${server} search=${search}
      servers=${known.data ?? []} totals=${data?.totals} />
    ${error !== null && data !== undefined && html`
      <p class="notice problem-notice" role="alert">${sentenceOf(error)} What you see may be out of date.</p>`}
    ${data === undefined
      ? html`<${Loading} error=${error} sentence=${sentenceOf(error)} />`
      : html`
        <p class="out-of-sight" role="status">
          ${plural(data.totals.processing, 'job')} running, ${data.totals.pending} waiting
        </p>
        ${Object.entries(data.groups).map(([name, jobs]) => jobs.length > 0 && html`
          <section key=${name} aria-labelledby="group-${name}">
            <h2 class="group-title" id="group-${name}">${titles[name]}</h2>
            <ul class="jobs">
              ${jobs.map(job => html`<${JobRow} key=${job.id} job=${job} onChanged=${reload} />`)}
            </ul>
          </section>`)}
        ${Object.values(data.groups).every(jobs => jobs.length === 0) && html`
          <p class="empty">${isFiltered ? 'No job fits these filters.' : 'Nothing has been asked for yet.'}</p>`}
        ${data.hasMore && size < 200 && html`
          <button type="button" class="button more-jobs" onClick=${() => setSize(size + pageSize)}>Show more</button>`}`}`
}

function Filters ({ route, status, server, search, servers: known, totals }) {
  const [typed, setTyped] = useState(search)
  useEffect(() => {
    const timer = setTimeout(() => { if (typed !== search) setQuery(route, { search: typed }) }, 250)
    return () => clearTimeout(timer)
  }, [typed])
  const all = totals === undefined ? undefined : Object.values(totals).reduce((sum, count) => sum + count, 0)
  const aliases = [...new Set([...known.map(({ alias }) => alias), server].filter(Boolean))]

  return html`
    <div class="filters" role="search" aria-label="Jobs">
      <div class="tabs" role="group" aria-label="State">
        ${['', ...statuses].map(each => html`
          <button key=${each} type="button" class="tab" aria-pressed=${status === each ? 'true' : 'false'}
            onClick=${() => setQuery(route, { status: each })}>
            ${each === '' ? 'All' : statusWord(each)} <span class="count numbers">${(each === '' ? all : totals?.[each]) ?? ''}</span>
          </button>`)}
      </div>
      <select aria-label="Server" value=${server} onChange=${event => setQuery(route, { server: event.currentTarget.value })}>
        <option value="" selected=${server === ''}>All servers</option>
        ${aliases.map(alias => html`<option key=${alias} value=${alias} selected=${alias === server}>${alias}</option>`)}
      </select>
      <input type="search" aria-label="Search prompts" placeholder="Search prompts" value=${typed}
        onInput=${event => setTyped(event.currentTarget.value)} />
    </div>`
}
