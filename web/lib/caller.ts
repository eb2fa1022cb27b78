import type { Key } from './api-types.ts'
import type { Who } from './service.ts'
import { createContext } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import { apiKeys } from './service.ts'

/** The person in front of these pages, as `GET /ui/session` describes it. */
export const Caller = createContext<Who | null>(null)

/** @throws Error outside of the frame */
export function useCaller (): Who {
  const who = useContext(Caller)
  if (who === null) throw new Error('Only pages of somebody with a session know their caller.')
  return who
}

/** Whether this person can change, cancel and retry jobs; of others only where it sees them. */
export function useRights () {
  return useCaller().rights
}

let names: ReadonlyMap<string, string> | undefined

/**
 * The names of access keys by their ids, for those who may know them; read once, and only where one is wanted.
 * @param ids null for jobs without a key
 */
export function useKeyNames (ids: ReadonlyArray<string | null | undefined>): (id: string) => string {
  const { key_id: own, rights } = useCaller()
  const [known, setKnown] = useState(names)
  const isWanted = rights.manage_keys && ids.some(id => id && id !== own && known?.has(id) !== true)
  const wanted = ids.filter(Boolean).toSorted().join()

  useEffect(() => {
    if (!isWanted) return
    const stop = new AbortController()
    apiKeys.list(stop.signal).then(keys => {
      names = new Map(keys.map(({ id, name }: Key) => [id, name]))
      setKnown(names)
    }, () => {})
    return () => stop.abort()
  }, [isWanted, wanted])

  return id => id === own ? 'you' : known?.get(id) ?? 'an access key'
}
