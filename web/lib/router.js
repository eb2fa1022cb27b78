import { useEffect, useState } from './html.js'

/** Pages are behind `#/`, so that they need no route of an interface. */

/** @returns {{ name: string, id: string, query: URLSearchParams }} `#/job/1?a=b` is page job, id 1 */
export function parseRoute (hash) {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  const [name = '', id = ''] = path.split('/')
  return { name: name || 'queue', id: decode(id), query: new URLSearchParams(query) }
}

function decode (text) {
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

export function goTo (path) {
  window.location.hash = path
}

/** Replaces the query behind `?` without a new entry in the history; drops empty values. */
export function setQuery (route, changes) {
  const query = new URLSearchParams(route.query)
  for (const [name, value] of Object.entries(changes)) {
    if (value === '') query.delete(name)
    else query.set(name, value)
  }
  const text = query.toString()
  window.history.replaceState(null, '', `#/${route.name}${route.id && `/${encodeURIComponent(route.id)}`}${text && `?${text}`}`)
  window.dispatchEvent(new window.HashChangeEvent('hashchange'))
}
