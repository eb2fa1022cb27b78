import type { Principal } from '../access/principal.ts'
import type { Keys } from '../redis/keys.ts'

/** A user of an application: the application's own name for them, and whose application it is. */
export interface StudioUser {
  /** Id of the access key, or `local` for everybody who needs none. */
  readonly owner: string
  readonly id: string
}

/** Two applications may call their users alike; neither sees what is the other's. */
export function studioUser ({ keyId }: Pick<Principal, 'keyId'>, id: string): StudioUser {
  return { owner: keyId ?? 'local', id }
}

/** Name of what is kept of a user. Ids are any text, so they are written in letters that separate nothing. */
export function userKey (keys: Keys, { owner, id }: StudioUser, what: string): string {
  return keys.key('studio', owner, Buffer.from(id).toString('base64url'), what)
}
