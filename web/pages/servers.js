import { sentenceOf } from '../lib/api.js'
import { ago, momentText, plural } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { useLive } from '../lib/live.js'
import { setQuery } from '../lib/router.js'
import { servers } from '../lib/service.js'
import { AddServer } from '../parts/add-server.js'
import { CheckServer } from '../parts/check-server.js'
import { EditServer } from '../parts/edit-server.js'
import { HealthStrip } from '../parts/health-strip.js'
import { Icon } from '../parts/icon.js'
import { Loading, PageHead } from '../parts/page-head.js'
import { PauseServer } from '../parts/pause-server.js'
import { RemoveServer } from '../parts/remove-server.js'
import { ServerActions } from '../parts/server-actions.js'
import { ServerInventory } from '../parts/server-inventory.js'
import { Stale } from '../parts/stale.js'
import { pauseWord, Status } from '../parts/status.js'

/** The Stable Diffusion servers behind the queue. */
export function ServersPage ({ route }) {
  const { data, error, reload } = useLive(signal => servers.list(signal), [])
  const [open, setOpen] = useState({ dialog: '', server: null })
  const close = () => setOpen({ dialog: '', server: null })
  const done = () => {
    close()
    reload()
  }

  return html`
    <${PageHead} title="Servers">
      <button type="button" class="button primary" onClick=${() => setQuery(route, { add: '1' })}><${Icon} name="create" />Add a server</button>
    <//>
    ${data === undefined
      ? html`<${Loading} error=${error} sentence=${error && sentenceOf(error)} />`
      : html`<${Stale} error=${error} />`}
    ${data?.length === 0 && html`
      <div class="empty">
        <p>No servers yet. Jobs need a server to run on.</p>
        <p>Start A1111 or Forge with <code>--api</code>, then add its address here.</p>
      </div>`}
    <ul class="cards">
      ${data?.map(server => html`
        <${ServerCard} key=${server.id} server=${server} onChanged=${reload} onOpen=${dialog => setOpen({ dialog, server })} />`)}
    </ul>
    ${route.query.has('add') && html`<${AddServer} onClose=${() => setQuery(route, { add: '' })} onChanged=${reload} />`}
    ${open.dialog === 'edit' && html`<${EditServer} server=${open.server} onClose=${close} onChanged=${reload} />`}
    ${open.dialog === 'check' && html`<${CheckServer} server=${open.server} onClose=${done} onChanged=${reload} />`}
    ${open.dialog === 'pause' && html`<${PauseServer} server=${open.server} onClose=${close} onPaused=${done} />`}
    ${open.dialog === 'inventory' && html`<${ServerInventory} server=${open.server} onClose=${close} />`}
    ${open.dialog === 'remove' && html`
      <${RemoveServer} server=${open.server} others=${data.filter(({ id }) => id !== open.server.id)} onClose=${close} onRemoved=${done} />`}`
}

function ServerCard ({ server, onChanged, onOpen }) {
  const { alias, enabled, paused } = server
  const checkpoint = server.loaded_checkpoint
  return html`
    <li class="card">
      <div class="card-head">
        <h2>${alias}</h2>
        <${Status} status=${server.health} />
        ${paused && html`<${Status} status=${pauseWord(server)} />`}
      </div>
      ${server.is_simulator && html`<p class="badge">Simulator – paints pictures, no Stable Diffusion</p>`}
      ${server.description && html`<p>${server.description}</p>`}
      ${paused && html`
        <p class="notice warning-notice">
          ${server.pause_reason ?? 'Paused: no new job starts here.'}
          ${server.drained && html` <strong>Nothing runs here: you can remove the server.</strong>`}
          ${server.paused_at && html`<span class="hint" title=${momentText(server.paused_at)}> Since ${ago(server.paused_at)}.</span>`}
        </p>`}
      <${HealthStrip} server=${server} />
      <dl class="facts-list">
        <div><dt>Address</dt><dd>${server.apiUrl}</dd></div>
        <div><dt>Kind</dt><dd>${[server.kind ?? 'not known yet', server.version].filter(Boolean).join(' ')}</dd></div>
        <div><dt>Loaded</dt><dd>${checkpoint ?? '–'}</dd></div>
        <div><dt>Jobs</dt><dd><a href="#/queue?server=${encodeURIComponent(alias)}">${server.processing} running, ${server.waiting} waiting</a></dd></div>
        ${server.learned?.checked_at && html`<div><dt>Checked</dt><dd>${learnedWords(server.learned)} (${ago(server.learned.checked_at)})</dd></div>`}
        <div><dt>Last checked</dt><dd>${ago(server.checked_at)}</dd></div>
      </dl>
      ${server.last_error && html`
        <div class="problem">
          <p>${server.last_error}</p>
          ${adviceFor(server) && html`<p>${adviceFor(server)}</p>`}
        </div>`}
      <${ServerActions} server=${server} onChanged=${onChanged} onOpen=${onOpen} />
      ${server.waiting > 0 && !enabled && html`<p class="hint">${plural(server.waiting, 'job')} wait until it is enabled again.</p>`}
    </li>`
}

/** The results of a thorough check that people ask for most. */
function learnedWords (learned) {
  const described = (value, good, bad) => value === null ? [] : [value ? good : bad]
  const { body_refused_bytes: body, time_limit_seconds: limit } = learned
  return [
    ...described(learned.interrupts, 'stops when interrupted', 'does not stop when interrupted'),
    ...described(learned.tells_tasks_apart, 'distinguishes tasks', 'does not distinguish tasks'),
    ...(learned.restores_overrides === 'none' ? ['does not restore settings'] : []),
    ...(body === null ? [] : [`accepts requests below ${Math.round(body / 1024 / 1024 * 10) / 10} MiB`]),
    ...(limit === null ? [] : [`a proxy waits ${limit} s`])
  ].join(', ') || 'few findings'
}

/** Actions for the server's operator. */
function adviceFor ({ health, last_error: problem }) {
  if (health === 'unauthorized') return 'Change the server and enter its credentials: the user name and password of its --api-auth, a token or headers.'
  if (health === 'suspected') return 'It answers, so it is retried automatically with another job. Its own output can say more.'
  if (health === 'offline' && /Nothing listens|connection in time|cannot be reached/.test(problem)) return 'On another machine it also needs --listen. Its jobs wait until it answers.'
  if (health === 'offline') return 'Its jobs wait until it answers.'
  return ''
}
