import { useState } from 'preact/hooks'

export function readPreference<Value> (name: string, defaultValue: Value): Value {
  try {
    return JSON.parse(window.localStorage.getItem(`stablequeue.${name}`) ?? 'null') ?? defaultValue
  } catch {
    return defaultValue
  }
}

/** A choice that this browser remembers. For display preferences only, because any script here can read it. */
export function usePreference<Value> (name: string, defaultValue: Value): [Value, (next: Value) => void] {
  const key = `stablequeue.${name}`
  const [value, setValue] = useState<Value>(() => readPreference(name, defaultValue))
  return [value, next => {
    setValue(next)
    try {
      window.localStorage.setItem(key, JSON.stringify(next))
    } catch { /* without storage, the choice lasts as long as the page */ }
  }]
}
