import type { Key, ListedJob, Server } from './api-types.ts'
import type { Who } from './service.ts'
import { createContext } from 'preact'
import { useContext, useEffect, useState } from 'preact/hooks'
import { useLive } from './live.ts'
import { apiKeys, servers } from './service.ts'
import { common } from '../texts/en/common.ts'

/** The person in front of these pages, as `GET /ui/session` describes it. */
export const Caller = createContext<Who | null>(null)

/** @throws Error outside of the frame */
export function useCaller (): Who {
  const who = useContext(Caller)
  if (who === null) throw new Error(common.callerIsUnknown)
  return who
}

export type Right = keyof Who['rights']

/** What this person can do, so that pages offer no more. */
export function useRights () {
  return useCaller().rights
}

/** Whether this person can change a job: those of others need a right of their own. */
export function useMayChange () {
  const { key_id: own, rights } = useCaller()
  return ({ api_key_id: key = null }: Pick<ListedJob, 'api_key_id'>) =>
    rights.change_all_jobs || (rights.submit_jobs && key === own)
}

/** The servers, for a person who may see them; none for others. */
export function useServers (options?: Parameters<typeof useLive>[2]) {
  const { see_servers: sees } = useRights()
  return useLive<Server[]>(async signal => sees ? await servers.list(signal) : [], [sees], options)
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

  return id => id === own ? 'you' : known?.get(id) ?? common.accessKey
}
