import { ServiceError } from '../errors.ts'

/** How many bytes may be in flight, of all owners together and of each. */
export interface ByteBudgetLimits {
  readonly total: number
  readonly perOwner: number
}

/** Bytes that one piece of work has in flight. */
export interface ByteShare {
  /** @throws ServiceError `bytes_in_flight_limit` where the owner has too much, `server_busy` where all have */
  grow (bytes: number): void
  /** Gives back all but so many. */
  shrinkTo (bytes: number): void
  release (): void
}

export interface ByteBudget {
  /** A share of nothing yet. @param owner for which the limit of one holds, such as an access key */
  open (owner: string): ByteShare
  /** What is in flight. */
  used (): number
}

/** Work this small finds room although large work takes up the budget: cancelling a job must not wait for uploads. */
const smallBytes = 65_536
/** So much more than the budget may small work take up. */
const roomForSmall = 1.25
/** Seconds after which a refused caller can try again; most bodies have arrived by then. */
const retryAfter = 2

export function createByteBudget ({ total, perOwner }: ByteBudgetLimits): ByteBudget {
  const owners = new Map<string, number>()
  let used = 0

  function add (owner: string, bytes: number): void {
    const left = (owners.get(owner) ?? 0) + bytes
    if (left > 0) owners.set(owner, left)
    else owners.delete(owner)
    used += bytes
  }

  return {
    used: () => used,
    open (owner) {
      let own = 0
      function shrinkTo (bytes: number): void {
        const spare = Math.max(0, own - bytes)
        own -= spare
        add(owner, -spare)
      }
      return {
        grow (bytes) {
          const room = own + bytes <= smallBytes ? roomForSmall : 1
          if ((owners.get(owner) ?? 0) + bytes > perOwner * room) {
            throw new ServiceError('bytes_in_flight_limit', 'The requests that you are sending have more than ' +
              `${mebibytes(perOwner)} together (BODIES_PER_KEY_MIB); send the next when one of them is answered.`,
            { limit: perOwner, retry_after: retryAfter })
          }
          if (used + bytes > total * room) {
            throw new ServiceError('server_busy', `The requests that are arriving have more than ${mebibytes(total)} together ` +
              '(BODIES_MAX_MIB); please try again.', { limit: total, retry_after: retryAfter })
          }
          own += bytes
          add(owner, bytes)
        },
        shrinkTo,
        release: () => { shrinkTo(0) }
      }
    }
  }
}

function mebibytes (bytes: number): string {
  return `${Math.round(bytes / 104_857.6) / 10} MiB`
}
