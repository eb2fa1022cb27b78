import { useEffect, useState } from 'preact/hooks'
import { addressOf } from './api.ts'
import { keepLooking } from './keep-looking.ts'
import { pages, type PageEntry } from '../pages/index.ts'

/** Milliseconds between two reloads of the page, in case that they do not help. */
const betweenReloads = 60_000
const reloadName = 'stablequeue.reloaded'

function reloadSeldom () {
  if (Date.now() - Number(window.sessionStorage.getItem(reloadName)) < betweenReloads) return
  window.sessionStorage.setItem(reloadName, String(Date.now()))
  window.location.reload()
}

const loaded = new Map<string, Awaited<ReturnType<PageEntry['load']>>>()

/**
 * The view of a page, loaded at its first use.
 * @returns view is undefined until it is loaded
 */
export function usePage (name: string) {
  const [state, setState] = useState<{ error: unknown, tries: number }>({ error: null, tries: 0 })
  const page = Object.hasOwn(pages, name) ? pages[name] : undefined

  useEffect(() => {
    if (page === undefined || loaded.has(name)) return
    let isWanted = true
    page.load().then(
      view => {
        loaded.set(name, view)
        if (isWanted) setState(({ tries }) => ({ error: null, tries }))
      },
      error => { if (isWanted) setState(({ tries }) => ({ error, tries })) })
    return () => { isWanted = false }
  }, [name, state.tries])

  const retry = () => setState(({ tries }) => ({ error: null, tries: tries + 1 }))

  useEffect(() => {
    if (state.error === null) return
    // Browsers remember a module that they could not load; a reload of the page, which keeps its address, helps.
    const again = () => { if (state.tries === 0) retry(); else reloadSeldom() }
    const look = () => { fetch(addressOf('/ui/session')).then(again, () => {}) }
    return keepLooking(look)
  }, [state])

  return {
    page,
    view: loaded.get(name),
    error: state.error,
    retry
  }
}
