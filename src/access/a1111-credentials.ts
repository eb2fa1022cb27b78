import { ServiceError } from '../errors.ts'
import { parseCredentials, type Credentials, type RequestHeaders } from './credentials.ts'

/** What clients of A1111 bring: also a secret without its key, since many have one field only. */
export type A1111Credentials = Credentials | { readonly kind: 'secret', readonly via: 'basic' | 'bearer', readonly secret: string }

/** A secret as this service makes them; anything else that stands alone is a token. */
const loneSecret = /^[0-9a-f]{64}$/

/**
 * Reads credentials as clients of A1111 send them. Unlike elsewhere, an empty `Authorization` and a bare `Basic ` are
 * anonymous (Open WebUI and SillyTavern send them when nothing is set), Basic may have the secret alone as password
 * under any user name, and the secret alone may be a bearer token.
 * @throws ServiceError as `parseCredentials`
 */
export function parseA1111Credentials (headers: RequestHeaders): A1111Credentials {
  const { authorization, ...others } = headers
  const text = typeof authorization === 'string' ? authorization.trim() : ''
  if (text === '' || /^basic(\s+Og==)?$/i.test(text)) return parseCredentials(others)
  const credentials = parseCredentials(headers)
  if (credentials.kind === 'token' && loneSecret.test(credentials.token)) {
    return { kind: 'secret', via: 'bearer', secret: credentials.token }
  }
  if (credentials.kind === 'pair' && credentials.via === 'basic' && !credentials.key.startsWith('mk_')) {
    return { kind: 'secret', via: 'basic', secret: credentials.secret }
  }
  return credentials
}

/**
 * The same where nobody needs credentials: an `Authorization` that says nothing known is none.
 * @throws ServiceError as `parseCredentials`, for headers of this service's own
 */
export function parseUnaskedCredentials (headers: RequestHeaders): A1111Credentials {
  const { authorization: _, ...others } = headers
  const ours = parseCredentials(others)
  try {
    return parseA1111Credentials(headers)
  } catch (error) {
    if (error instanceof ServiceError && error.status === 401) return ours
    throw error
  }
}

/** Whether credentials name a key of this service, so that they are meant for it although wrong. */
export function mayBeOurs (credentials: A1111Credentials): boolean {
  return credentials.kind === 'pair' && (credentials.via === 'headers' || credentials.key.startsWith('mk_'))
}
