import { ServiceError } from '../lib/errors.ts'

/** The credentials of a request, not checked yet. */
type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'pair', readonly via: 'headers' | 'bearer' | 'basic', readonly key: string, readonly secret: string }
  | { readonly kind: 'token', readonly token: string }

export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

/** Longest header that is read, in characters. */
const longestHeader = 1024
const strictBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/

/**
 * Reads `X-API-Key` with `X-API-Secret`, `Authorization: Bearer base64(key:secret)`, `Authorization: Basic` of the
 * same, and `Authorization: Bearer <token>`. Empty headers count as missing credentials: 401.
 * @throws ServiceError authentication_required, invalid_api_key or ambiguous_credentials
 */
export function parseCredentials (headers: RequestHeaders): Credentials {
  const fromAuthorization = parseAuthorization(headerText(headers, 'authorization'))
  const fromKeyHeaders = parseKeyHeaders(headerText(headers, 'x-api-key'), headerText(headers, 'x-api-secret'))
  if (fromAuthorization.kind === 'none') {
    if (fromKeyHeaders === 'empty') throw missing('X-API-Key and X-API-Secret are empty; send both')
    return fromKeyHeaders
  }
  if (fromKeyHeaders === 'empty' || fromKeyHeaders.kind === 'none') return fromAuthorization
  if (!isSamePair(fromKeyHeaders, fromAuthorization)) {
    throw new ServiceError('ambiguous_credentials',
      'Authorization and X-API-Key name two different callers; send only one of them')
  }
  return fromKeyHeaders
}

/** True when the client speaks Basic, so that a Basic challenge opens no password window in a browser that does not. */
export function usesBasic (headers: RequestHeaders): boolean {
  return /^basic\b/i.test(headerText(headers, 'authorization') ?? '')
}

function headerText (headers: RequestHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' || value === undefined ? value : value.join(', ')
}

function parseKeyHeaders (key: string | undefined, secret: string | undefined): Credentials | 'empty' {
  if (key === undefined && secret === undefined) return { kind: 'none' }
  if (!key && !secret) return 'empty'
  if (!key || !secret) throw missing('X-API-Key and X-API-Secret belong together; one of them is missing')
  if (key.length > longestHeader || secret.length > longestHeader) throw invalid('X-API-Key or X-API-Secret is too long')
  return { kind: 'pair', via: 'headers', key, secret }
}

function parseAuthorization (text: string | undefined): Credentials {
  if (text === undefined) return { kind: 'none' }
  if (text.length > longestHeader) throw invalid(`Authorization is longer than ${longestHeader} characters`)
  const [scheme = '', value = ''] = text.trim().split(/\s+(.*)/s)
  if (value === '') throw missing('Authorization must be Bearer or Basic, followed by the credentials')
  if (/^bearer$/i.test(scheme)) return parseBearer(value)
  if (/^basic$/i.test(scheme)) {
    const pair = decodePair(value)
    if (pair === null) throw invalid('Authorization: Basic must carry base64 of key:secret')
    return { ...pair, via: 'basic' }
  }
  throw missing(`Authorization: ${scheme.slice(0, 20)} is not supported; use Bearer or Basic`)
}

/** The kind of a bearer token: the pair of an access key, or a token. */
export function parseBearer (value: string): Exclude<Credentials, { kind: 'none' }> {
  const pair = decodePair(value)
  return pair !== null && pair.key.startsWith('mk_') ? { ...pair, via: 'bearer' } : { kind: 'token', token: value }
}

/** Splits at the first colon: a secret can contain others. */
function decodePair (value: string): { kind: 'pair', key: string, secret: string } | null {
  if (!strictBase64.test(value)) return null
  const text = Buffer.from(value, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon === -1 ? null : { kind: 'pair', key: text.slice(0, colon), secret: text.slice(colon + 1) }
}

function isSamePair (one: Credentials, other: Credentials): boolean {
  return one.kind === 'pair' && other.kind === 'pair' && one.key === other.key && one.secret === other.secret
}

function missing (sentence: string): ServiceError {
  return new ServiceError('authentication_required', sentence)
}

function invalid (sentence: string): ServiceError {
  return new ServiceError('invalid_api_key', sentence)
}

/** Credentials of A1111's clients: also a secret without its key, since many have one field only. */
export type A1111Credentials = Credentials | { readonly kind: 'secret', readonly via: 'basic' | 'bearer', readonly secret: string }

export type PresentCredentials = Exclude<A1111Credentials, { kind: 'none' }>

/** A secret in this service's form; any other lone text is a token. */
const loneSecret = /^[0-9a-f]{64}$/

/**
 * Reads credentials as clients of A1111 send them. Unlike elsewhere, an empty `Authorization` and a bare `Basic ` are
 * anonymous (Open WebUI and SillyTavern send them when nothing is set), Basic can have the secret alone as password
 * under any user name, and the secret alone can be a bearer token.
 * @throws ServiceError as `parseCredentials`
 */
export function parseA1111Credentials (headers: RequestHeaders): A1111Credentials {
  const { authorization, ...others } = headers
  const text = typeof authorization === 'string' ? authorization.trim() : ''
  if (text === '' || /^basic(\s+Og==)?$/i.test(text)) return parseCredentials(others)
  const credentials = parseCredentials(headers)
  if (credentials.kind === 'token') return parseA1111Bearer(credentials.token)
  if (credentials.kind === 'pair' && credentials.via === 'basic' && !credentials.key.startsWith('mk_')) {
    return { kind: 'secret', via: 'basic', secret: credentials.secret }
  }
  return credentials
}

/**
 * The credentials of a client that has nothing but a bearer token: the secret of an access key, a token, or base64 of
 * key:secret.
 * @throws ServiceError as `parseCredentials`; `authentication_required` without a bearer token
 */
export function parseBearerAlone (headers: RequestHeaders): PresentCredentials {
  const credentials = parseA1111Credentials(headers)
  if (credentials.kind === 'token' || (credentials.kind !== 'none' && credentials.via === 'bearer')) return credentials
  throw missing('Send Authorization: Bearer with the secret of an access key')
}

/** The kind of such a client's bearer token. */
export function parseA1111Bearer (value: string): Exclude<A1111Credentials, { kind: 'none' }> {
  const credentials = parseBearer(value)
  return credentials.kind === 'token' && loneSecret.test(value)
    ? { kind: 'secret', via: 'bearer', secret: value }
    : credentials
}

/**
 * The same for a client that needs no credentials: an unknown `Authorization` counts as none.
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
