import { html, useState } from '../lib/html.js'
import { attempt, complain, say } from '../lib/messages.js'
import { servers } from '../lib/service.js'
import { Icon } from './icon.js'

/** Actions for a server; onOpen opens one of the page's dialogs. */
export function ServerActions ({ server, onChanged, onOpen }) {
  const [busy, setBusy] = useState(false)
  const { alias, enabled, paused } = server

  async function act (work) {
    setBusy(true)
    await attempt(work)
    setBusy(false)
    onChanged()
  }

  async function test () {
    setBusy(true)
    try {
      const { reachable, message, duration_ms: ms } = await servers.test(alias)
      if (reachable) say(`${alias} answers after ${ms} ms: ${message}`)
      else complain(new Error(`${alias} cannot be used: ${message}`))
    } catch (error) {
      complain(error)
    }
    setBusy(false)
    onChanged()
  }

  const button = (label, icon, onClick) => html`
    <button type="button" class="button" disabled=${busy} aria-label="${label} ${alias}" onClick=${onClick}><${Icon} name=${icon} />${label}</button>`
  return html`
    <div class="actions">
      ${button('Test', 'plug', test)}
      ${button('Check', 'search', () => onOpen('check'))}
      ${paused && !server.checking
        ? button('Resume', 'play', () => act(() => servers.resume(alias)))
        : button('Pause', 'pause', () => onOpen('pause'))}
      ${!server.draining && button('Drain', 'stop', () => act(async () => say((await servers.drain(alias)).message)))}
      ${button('Inventory', 'models', () => onOpen('inventory'))}
      ${button('Change', 'pen', () => onOpen('edit'))}
      ${button(enabled ? 'Disable' : 'Enable', enabled ? 'stop' : 'again', () => act(() => servers.change(alias, { enabled: !enabled })))}
      <button type="button" class="button quiet" disabled=${busy} aria-label="Delete ${alias}" onClick=${() => onOpen('remove')}>
        <${Icon} name="bin" />Delete
      </button>
    </div>`
}
