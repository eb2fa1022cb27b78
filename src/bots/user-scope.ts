import type { Principal } from '../access/principal.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'

/** A user of an application: the application's own name for them, and whose application it is. */
export interface BotUser {
  /** Id of the access key, or `local` for everybody who needs none. */
  readonly owner: string
  readonly id: string
}

/** Two applications may call their users alike; neither sees what is the other's. */
export function botUser ({ keyId }: Pick<Principal, 'keyId'>, id: string): BotUser {
  return { owner: keyId ?? 'local', id: plainUserId(id) }
}

/**
 * One spelling for names that look alike: blanks around them and decomposed letters come from clients, not from people.
 * @throws ServiceError `invalid_field_value` when nothing is left
 */
export function plainUserId (text: string): string {
  const id = text.normalize('NFC').trim()
  if (id === '') throw new ServiceError('invalid_field_value', 'user_id must not be blank.', { field: 'user_id' })
  return id
}

/** Name of what is kept of a user. Ids are any text, so they are written in letters that separate nothing. */
export function userKey (keys: Keys, { owner, id }: BotUser, what: string): string {
  return keys.key('studio', owner, Buffer.from(id).toString('base64url'), what)
}
