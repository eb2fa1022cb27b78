import type { Principal } from '../access/principal.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'

/** A user of an application: the application's own name for them, and whose application it is. */
export interface BotUser {
  /** Id of the access key, or `local` for all clients without one. */
  readonly owner: string
  readonly id: string
}

/** Two applications can use the same names for users; neither sees the other's. */
export function botUser ({ keyId }: Pick<Principal, 'keyId'>, id: string): BotUser {
  return { owner: keyId ?? 'local', id: plainUserId(id) }
}

/**
 * One spelling for names that look alike: clients add blanks around them and decompose letters, people do not.
 * @throws ServiceError `invalid_field_value` for an empty name
 */
export function plainUserId (text: string): string {
  const id = text.normalize('NFC').trim()
  if (id === '') throw new ServiceError('invalid_field_value', 'user_id must not be blank.', { field: 'user_id' })
  return id
}

/** Name of a user's key. Ids are any text, so they are encoded without separators. */
export function userKey (keys: Keys, { owner, id }: BotUser, what: string): string {
  return keys.key('studio', owner, Buffer.from(id).toString('base64url'), what)
}
