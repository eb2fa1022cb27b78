import type { Route } from '../lib/router.ts'
import type { Who } from '../lib/service.ts'
import { addressOf } from '../lib/api.ts'
import { useEffect, useRef, useState } from 'preact/hooks'
import { entriesOnPhone, pages, type PageEntry } from '../pages/index.ts'
import { Icon } from './icon.tsx'
import { common } from '../texts/en/common.ts'

const allEntries = Object.entries(pages).filter(([, { icon }]) => icon !== undefined)

/** Pages with subpages. */
const parents: Readonly<Record<string, string>> = { job: 'queue' }

/** Links to every page: a column beside the page, or on a phone a bar below it, with the rest behind "More". */
export function Navigation ({ route, who, onSignOut }: { route: Route, who: Who, onSignOut: () => void }) {
  const [open, setOpen] = useState(false)
  const element = useRef<HTMLElement>(null)
  const entries = allEntries.filter(([, { right }]) => right === undefined || who.rights[right])
  const current = parents[route.name] ?? route.name

  useEffect(() => { setOpen(false) }, [route.name])

  useEffect(() => {
    if (!open) return
    function onPointer (event: PointerEvent) {
      if (event.target instanceof Node && !element.current?.contains(event.target)) setOpen(false)
    }
    document.addEventListener('pointerdown', onPointer)
    return () => document.removeEventListener('pointerdown', onPointer)
  }, [open])

  function onKeyDown (event: KeyboardEvent) {
    if (event.key !== 'Escape' || !open) return
    setOpen(false)
    element.current?.querySelector<HTMLElement>('.more-entries')?.focus()
  }

  const link = ([name, { title, icon }]: readonly [string, PageEntry]) => (
    <li key={name}>
      <a href={`#/${name}`} aria-current={current === name ? 'page' : undefined} onClick={() => setOpen(false)}>
        {icon && <Icon name={icon} />}<span>{title}</span>
      </a>
    </li>
  )

  return (
    <nav aria-label={common.pages} class='pages' ref={element} onKeyDown={onKeyDown}>
      <ul class='first-entries'>{entries.slice(0, entriesOnPhone).map(link)}</ul>
      <button
        type='button' class='more-entries' aria-expanded={open ? 'true' : 'false'} aria-controls='rest'
        onClick={() => setOpen(!open)}
      ><Icon name='more' /><span>{common.more}</span>
      </button>
      <div id='rest' class={open ? 'rest open' : 'rest'}>
        <ul>{entries.slice(entriesOnPhone).map(link)}</ul>
        <ul class='outside'>
          <li><a href={addressOf('/docs')}><Icon name='docs' /><span>{common.apiDocs}</span></a></li>
          {who.role === 'admin' && <li><a href={addressOf('/dashboard')}><Icon name='chart' /><span>{common.dashboard}</span></a></li>}
          {who.key_id !== null && <li><a href='#/access' aria-current={current === 'access' ? 'page' : undefined}><Icon name='key' /><span>{who.name}</span></a></li>}
          {(who.kind === 'session' || who.kind === 'key') && <li><button type='button' onClick={onSignOut}><Icon name='leave' /><span>{common.signOut}</span></button></li>}
        </ul>
      </div>
    </nav>
  )
}
