import { useState } from './html.js'

/** A choice that this browser remembers; only taste, nothing that anybody must not know. */
export function usePreference (name, usual) {
  const key = `stablequeue.${name}`
  const [value, setValue] = useState(() => {
    try {
      return JSON.parse(window.localStorage.getItem(key)) ?? usual
    } catch {
      return usual
    }
  })
  return [value, next => {
    setValue(next)
    try {
      window.localStorage.setItem(key, JSON.stringify(next))
    } catch { /* a browser that keeps nothing forgets it */ }
  }]
}
