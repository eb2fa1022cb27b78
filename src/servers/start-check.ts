import { GenerationFailure, type Inventory, type ServerTraits } from '../a1111/types.ts'
import type { Log } from '../lib/logging.ts'
import { inWords, lostLists, missingAtStart, withListsOf } from './fresh-lists.ts'
import type { Server } from './registry.ts'
import type { ServerStateStore } from './state-store.ts'

/**
 * How long a server that answers after an outage stays out of use, in milliseconds: until it has what it had before,
 * or, if it is unknown, what its kind loads last.
 */
export interface StartPatience {
  readonly known: number
  readonly unknown: number
}

/** Whether a server that answers is completely started, as far as visible. */
export interface StartCheck {
  /** Call this after the server was away. @throws StartNotOver while something is missing that is likely to come */
  require (read: Inventory, traits: ServerTraits): Promise<void>
  /** The inventory without losses that must be confirmed first: these lists stay as they were. */
  believed (read: Inventory): Inventory
  /** Whether to read a list again soon. */
  rereads (): boolean
  /**
   * An error can be caused by the start. Returns the reason if the server must stay out of use once more because of it.
   */
  hold (): StartNotOver | null
  /** It is completely started. */
  passed (): void
  /** A probe failed, either while the server starts or because it went away. */
  failed (error: unknown): void
}

/** The server answers, but its start is not finished. */
export class StartNotOver extends GenerationFailure {
  /** @param lacking the missing parts, as a clause */
  constructor (lacking: string, retryAfterMs: number) {
    super('server-down', 'server_starting', `The server is still starting: ${lacking}.`, { retryAfterMs })
  }
}

export interface StartCheckDependencies {
  readonly server: () => Server
  readonly states: Pick<ServerStateStore, 'read' | 'freshInventory'>
  readonly log: Log
  readonly patience: StartPatience
  /** Between two probes of a server that is starting, in milliseconds. */
  readonly interval: number
}

/** How often a suddenly empty list is read again before it is believed. */
const maxRereadings = 5
/** How long after its start a server's errors can be caused by it, in milliseconds. */
const startErrorsFor = 60_000
/** How often in one start a server stays out of use again because of such an error. */
const maxHolds = 3

export function createStartCheck ({ server, states, log, patience, interval }: StartCheckDependencies): StartCheck {
  /** The last accepted inventory, possibly by an earlier process. */
  let accepted: Inventory | null = null
  let rereadings = 0
  /** By the monotonic clock. */
  let answeringSince: number | null = null
  let upSince = -Infinity
  let heldUntil = -Infinity
  let holds = 0
  let isLogged = false

  /** The inventory that another process, or an earlier start of this one, accepted. */
  async function lastInventory (): Promise<Inventory | null> {
    const { id, address } = server()
    const known = await states.read(id)
    // At another address it is another server.
    const isSame = known !== null && (known.baseUrl ?? address.baseUrl) === address.baseUrl
    return isSame ? await states.freshInventory(id) : null
  }

  return {
    async require (read, traits) {
      if (answeringSince === null) {
        answeringSince = performance.now()
        accepted ??= await lastInventory()
      }
      const now = performance.now()
      if (now < heldUntil) throw new StartNotOver('its scripts are not ready', heldUntil - now)
      const lacking = missingAtStart(accepted, read, traits)
      if (lacking.length === 0) return
      const seen = { server: server().alias, missing: lacking }
      if (now - answeringSince >= (accepted === null ? patience.unknown : patience.known)) {
        log.warn(seen, 'the server still does not offer all that was expected, and is taken as it is')
        accepted = null
        return
      }
      if (!isLogged) log.info(seen, 'the server answers, and is still starting; its queue is on hold')
      isLogged = true
      throw new StartNotOver(`it does not offer its ${inWords(lacking)} yet`, interval)
    },
    believed (read) {
      const lost = accepted === null ? [] : lostLists(accepted, read)
      if (accepted === null || lost.length === 0 || rereadings >= maxRereadings) {
        if (lost.length > 0) log.info({ server: server().alias, lists: lost }, 'some lists of the server are empty now')
        rereadings = 0
        accepted = read
      } else {
        rereadings += 1
        accepted = withListsOf(accepted, read, lost)
      }
      return accepted
    },
    rereads: () => rereadings > 0,
    hold () {
      if (performance.now() - upSince > startErrorsFor || holds >= maxHolds) return null
      holds += 1
      const milliseconds = interval * 2 ** holds
      heldUntil = performance.now() + milliseconds
      return new StartNotOver('its scripts are not ready', milliseconds)
    },
    passed () {
      answeringSince = null
      isLogged = false
      upSince = performance.now()
    },
    failed (error) {
      if (error instanceof StartNotOver) return
      answeringSince = null
      isLogged = false
      holds = 0
      heldUntil = -Infinity
    }
  }
}
