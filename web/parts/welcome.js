import { html, useState } from '../lib/html.js'
import { firstRequest } from '../lib/generation.js'
import { complain } from '../lib/messages.js'
import { goTo } from '../lib/router.js'
import { jobs } from '../lib/service.js'
import { Icon } from './icon.js'

/** What newcomers need to know while there is no real server, and the first job in one click. */
export function Welcome ({ servers, isEmpty }) {
  const [busy, setBusy] = useState(false)
  if (servers === undefined || servers.some(server => !server.is_simulator)) return null

  async function paint () {
    setBusy(true)
    try {
      goTo(`/job/${(await jobs.submit(firstRequest)).id}`)
    } catch (error) {
      complain(error)
      setBusy(false)
    }
  }

  const hasSimulator = servers.length > 0
  return html`
    <aside class="notice welcome" aria-label="Getting started">
      <p>${hasSimulator
        ? 'So far only the built-in simulator is here: it paints pictures without Stable Diffusion, so that you can try everything before you add your own server.'
        : 'There is no server yet: add the address of your A1111 or Forge, and jobs can run.'}</p>
      <div class="actions">
        ${hasSimulator && isEmpty && html`
          <button type="button" class="button primary" disabled=${busy} onClick=${paint}>
            <${Icon} name="image" />Paint a first picture
          </button>`}
        <a class="button" href="#/servers?add=1"><${Icon} name="server" />Add a server</a>
      </div>
    </aside>`
}
