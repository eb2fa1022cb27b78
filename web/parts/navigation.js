import { addressOf } from '../lib/api.js'
import { html, useEffect, useRef, useState } from '../lib/html.js'
import { entriesOnPhone, pages } from '../pages/index.js'
import { Icon } from './icon.js'

const entries = Object.entries(pages).filter(([, { icon }]) => icon !== undefined)

/** Pages with subpages. */
const parents = { job: 'queue' }

/** Links to every page: a column beside the page, or on a phone a bar below it, with the rest behind "More". */
export function Navigation ({ route, who, onSignOut }) {
  const [open, setOpen] = useState(false)
  const element = useRef(null)
  const current = parents[route.name] ?? route.name

  useEffect(() => { setOpen(false) }, [route.name])

  useEffect(() => {
    if (!open) return
    function onPointer (event) {
      if (!element.current.contains(event.target)) setOpen(false)
    }
    document.addEventListener('pointerdown', onPointer)
    return () => document.removeEventListener('pointerdown', onPointer)
  }, [open])

  function onKeyDown (event) {
    if (event.key !== 'Escape' || !open) return
    setOpen(false)
    element.current.querySelector('.more-entries').focus()
  }

  const link = ([name, { title, icon }]) => html`
    <li key=${name}>
      <a href="#/${name}" aria-current=${current === name ? 'page' : undefined} onClick=${() => setOpen(false)}>
        <${Icon} name=${icon} /><span>${title}</span>
      </a>
    </li>`

  return html`
    <nav aria-label="Pages" class="pages" ref=${element} onKeyDown=${onKeyDown}>
      <ul class="first-entries">${entries.slice(0, entriesOnPhone).map(link)}</ul>
      <button type="button" class="more-entries" aria-expanded=${open ? 'true' : 'false'} aria-controls="rest"
        onClick=${() => setOpen(!open)}><${Icon} name="more" /><span>More</span></button>
      <div id="rest" class=${open ? 'rest open' : 'rest'}>
        <ul>${entries.slice(entriesOnPhone).map(link)}</ul>
        <ul class="outside">
          <li><a href=${addressOf('/docs')}><${Icon} name="docs" /><span>API docs</span></a></li>
          <li><a href=${addressOf('/dashboard')}><${Icon} name="chart" /><span>Dashboard</span></a></li>
          ${who.kind === 'session' && html`
            <li><button type="button" onClick=${onSignOut}><${Icon} name="leave" /><span>Sign out</span></button></li>`}
        </ul>
      </div>
    </nav>`
}
