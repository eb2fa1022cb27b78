import { useEffect, useState } from 'preact/hooks'

/** Pages are behind `#/`, so that they need no route of an interface. */

/** @returns `#/job/1?a=b` is page job, id 1 */
/** `#/job/1?a=b` is page job, id 1. */
export interface Route {
  readonly name: string
  readonly id: string
  readonly query: URLSearchParams
}

export function parseRoute (hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  const [name = '', id = ''] = path.split('/')
  return { name: name || 'queue', id: decode(id), query: new URLSearchParams(query) }
}

function decode (text: string) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export function useRoute () {
  const [route, setRoute] = useState(() => parseRoute(window.location.hash))
  useEffect(() => {
    const follow = () => setRoute(parseRoute(window.location.hash))
    window.addEventListener('hashchange', follow)
    return () => window.removeEventListener('hashchange', follow)
  }, [])
  return route
}

export function goTo (path: string) {
  window.location.hash = path
}

/** Replaces the query behind `?` without a new entry in the history; drops empty values. */
export function setQuery (route: Route, changes: Readonly<Record<string, string>>) {
  window.history.replaceState(window.history.state, '', addressWith(route, changes))
  window.dispatchEvent(new window.HashChangeEvent('hashchange'))
}

/** The address of a page with another query behind `?`; empty values drop out. */
export function addressWith (route: Route, changes: Readonly<Record<string, string>>) {
  const query = new URLSearchParams(route.query)
  for (const [name, value] of Object.entries(changes)) {
    if (value === '') query.delete(name)
    else query.set(name, value)
  }
  const text = query.toString()
  return `#/${route.name}${route.id && `/${encodeURIComponent(route.id)}`}${text && `?${text}`}`
}

/** The values behind `?` by their names; empty where there is none. */
export function queryValues<Name extends string> ({ query }: Route, ...names: readonly Name[]) {
  return Object.fromEntries(names.map(name => [name, query.get(name) ?? ''])) as Record<Name, string>
}
