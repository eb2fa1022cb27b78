import { sentenceOf } from '../lib/api.js'
import { plural } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { useLive } from '../lib/live.js'
import { attempt, complain, say } from '../lib/messages.js'
import { setQuery } from '../lib/router.js'
import { servers } from '../lib/service.js'
import { AddServer } from '../parts/add-server.js'
import { Icon } from '../parts/icon.js'
import { Loading, PageHead } from '../parts/page-head.js'
import { RemoveServer } from '../parts/remove-server.js'
import { Status } from '../parts/status.js'

/** The Stable Diffusion servers behind the queue. */
export function ServersPage ({ route }) {
  const { data, error, reload } = useLive(signal => servers.list(signal), [])
  const [removing, setRemoving] = useState(null)
  const isAdding = route.query.has('add')
  const closeAdding = () => setQuery(route, { add: '' })

  return html`
    <${PageHead} title="Servers">
      <button type="button" class="button primary" onClick=${() => setQuery(route, { add: '1' })}>Add a server</button>
    <//>
    ${data === undefined && html`<${Loading} error=${error} sentence=${error && sentenceOf(error)} />`}
    ${data?.length === 0 && html`<p class="empty">There is no server yet. Jobs need one to run on.</p>`}
    <ul class="cards">
      ${data?.map(server => html`
        <${ServerCard} key=${server.id} server=${server} onChanged=${reload} onRemove=${() => setRemoving(server)} />`)}
    </ul>
    ${isAdding && html`<${AddServer} onClose=${closeAdding} onChanged=${reload} />`}
    ${removing !== null && html`
      <${RemoveServer} server=${removing} others=${data.filter(({ id }) => id !== removing.id)}
        onClose=${() => setRemoving(null)} onRemoved=${() => { setRemoving(null); reload() }} />`}`
}

function ServerCard ({ server, onChanged, onRemove }) {
  const [busy, setBusy] = useState(false)
  const { alias, enabled, paused } = server

  async function act (work, sentence) {
    setBusy(true)
    await attempt(work, sentence)
    setBusy(false)
    onChanged()
  }

  async function test () {
    setBusy(true)
    try {
      const { reachable, message } = await servers.test(alias)
      if (reachable) say(`${alias} answers: ${message}`)
      else complain(new Error(`${alias} cannot be used: ${message}`))
    } catch (error) {
      complain(error)
    }
    setBusy(false)
    onChanged()
  }

  return html`
    <li class="card">
      <div class="card-head">
        <h2>${alias}</h2>
        <${Status} status=${server.health} />
        ${paused && html`<${Status} status="paused" />`}
      </div>
      ${server.is_simulator && html`<p class="badge">Simulator – paints pictures, no Stable Diffusion</p>`}
      ${server.description && html`<p>${server.description}</p>`}
      <dl class="facts-list">
        <div><dt>Address</dt><dd>${server.apiUrl}</dd></div>
        <div><dt>Kind</dt><dd>${[server.kind ?? 'not known yet', server.version].filter(Boolean).join(' ')}</dd></div>
        <div><dt>Loaded</dt><dd>${server.loaded_checkpoint ?? '–'}</dd></div>
        <div><dt>Jobs</dt><dd><a href="#/queue?server=${encodeURIComponent(alias)}">${server.processing} running, ${server.waiting} waiting</a></dd></div>
      </dl>
      ${server.last_error && html`<p class="problem">${server.last_error}</p>`}
      <div class="actions">
        <button type="button" class="button" disabled=${busy} aria-label="Test ${alias}" onClick=${test}>Test</button>
        <button type="button" class="button" disabled=${busy} aria-label="${paused ? 'Resume' : 'Pause'} ${alias}"
          onClick=${() => act(() => paused ? servers.resume(alias) : servers.pause(alias))}>${paused ? 'Resume' : 'Pause'}</button>
        <button type="button" class="button" disabled=${busy} aria-label="${enabled ? 'Disable' : 'Enable'} ${alias}"
          onClick=${() => act(() => servers.change(alias, { enabled: !enabled }))}>${enabled ? 'Disable' : 'Enable'}</button>
        <button type="button" class="button quiet" disabled=${busy} aria-label="Delete ${alias}" onClick=${onRemove}>
          <${Icon} name="bin" />Delete
        </button>
      </div>
      ${server.waiting > 0 && !enabled && html`<p class="hint">${plural(server.waiting, 'job')} wait until it is enabled again.</p>`}
    </li>`
}
