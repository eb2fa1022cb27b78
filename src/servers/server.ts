import { isDeepStrictEqual } from 'node:util'
import type { ServerAddress, ServerTraits } from '../a1111/types.ts'

export type ServerOrigin = 'user' | 'settings' | 'found' | 'simulator'

/** When the checkpoint that people selected at a server is selected there again after jobs with others. */
export type RestoreSelection = typeof restoreSelections[number]
export const restoreSelections = ['when idle', 'always', 'never'] as const

/** A server as the registry knows it, its password open. Moments are milliseconds since the epoch. */
export interface Server {
  readonly id: string
  readonly alias: string
  readonly address: ServerAddress
  readonly description: string | null
  readonly enabled: boolean
  /** Held by an operator; health holds the line by itself. */
  readonly paused: boolean
  /** Why it is held, in the operator's words; null where none were given. */
  readonly pauseReason: string | null
  /** Since when; null where it is not held, or was already by a version that did not keep it. */
  readonly pausedAt: number | null
  readonly jobTimeoutSeconds: number | null
  readonly restoreSelection: RestoreSelection
  readonly origin: ServerOrigin
  readonly createdAt: number
  readonly updatedAt: number
}

/** What was last heard of a server, kept in Redis so that no list waits for a live probe. */
export interface ServerState {
  /** `suspected`: it answers its looks, but is given a break because of what became of generations. */
  readonly reachable: 'yes' | 'no' | 'unauthorized' | 'suspected'
  readonly since: number
  readonly checkedAt: number
  readonly lastError: string | null
  readonly traits: ServerTraits | null
  /** Moment of the stored inventory; null while there is none. */
  readonly inventoryReadAt: number | null
  /** Where it was then; absent in what earlier versions have written. */
  readonly baseUrl?: string | undefined
}

/** Whether a server answers, be it for generations too or not. */
export function answersLooks (state: ServerState | null): boolean {
  return state?.reachable === 'yes' || state?.reachable === 'suspected'
}

/** Whether requests to two addresses are the same: the place, the user and all that is sent along. */
export function sameAddress (one: ServerAddress, other: ServerAddress): boolean {
  return isDeepStrictEqual(one, other)
}
