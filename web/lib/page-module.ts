import { useEffect, useState } from 'preact/hooks'
import { pages, type PageEntry } from '../pages/index.ts'

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

  return {
    page,
    view: loaded.get(name),
    error: state.error,
    retry: () => setState(({ tries }) => ({ error: null, tries: tries + 1 }))
  }
}
