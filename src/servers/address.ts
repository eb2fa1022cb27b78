import { withoutTrailing } from '../lib/text.ts'
import { ServiceError } from '../errors.ts'
import type { ServerAddress } from '../a1111/types.ts'
import type { ServerInput } from '../../schemas/server.ts'
import { changedOptions, requireOneAuthorization, type ConnectionInput, type ConnectionOptions } from './connection-options.ts'

/** What a body with a host leaves out. */
const usualPlace = 'http://127.0.0.1:7860'

/** What a request body says about where a server is and who may use it. */
export type AddressInput = Partial<Pick<ServerInput,
  'apiUrl' | 'host' | 'port' | 'username' | 'password' | 'authUser' | 'authPass' | 'auth'>> & ConnectionInput

/** Where a server listens, as callers see it. */
export function hostAndPort (baseUrl: string): { host: string, port: number } {
  const url = new URL(baseUrl)
  return { host: url.hostname, port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80) }
}

/**
 * Address and credentials out of one URL, such as `http://user:pass@host:7860/`.
 * @throws ServiceError `invalid_field_value` naming `field`
 */
export function parseServerUrl (text: string, field: string): ServerAddress {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.hostname === '') {
    throw invalid(field, `${field} must be an http or https address such as http://127.0.0.1:7860.`)
  }
  if (url.search !== '' || url.hash !== '') {
    throw invalid(field, `${field} must end with host, port or path; remove what follows it.`)
  }
  const baseUrl = `${url.origin}${withoutTrailing(url.pathname, '/')}`
  const [username, password] = [url.username, url.password].map(part => decoded(part, field))
  return withCredentials(baseUrl, { username, password }, field)
}

function decoded (part: string, field: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw invalid(field, `${field} has a % in its user name or password that encodes nothing; write it as %25.`)
  }
}

/**
 * The address of a new server.
 * @throws ServiceError `missing_required_field` or `invalid_field_value` naming the field
 */
export function addressOf (input: AddressInput): ServerAddress {
  const place = input.apiUrl || input.host ? placeOf(usualPlace, input) : null
  if (place === null) {
    throw new ServiceError('missing_required_field', 'Give apiUrl, such as http://127.0.0.1:7860, or host and port.',
      { field: 'apiUrl' })
  }
  return withOptions(withCredentials(place.baseUrl, merged(place, credentialsOf(input)), 'username'), {}, input)
}

/**
 * The address of a server after a change: what the body leaves out stays as it was. Passwords, tokens and headers are
 * for the place that they were given for: those of a server that moves elsewhere are dropped.
 * @throws ServiceError `invalid_field_value` naming the field
 */
export function changedAddress (before: ServerAddress, input: AddressInput): ServerAddress {
  const place = placeOf(before.baseUrl, input)
  const kept = place.baseUrl === before.baseUrl ? before : {}
  return withOptions(
    withCredentials(place.baseUrl, merged(merged(kept, place), credentialsOf(input)), 'username'), kept, input)
}

function withOptions (address: ServerAddress, before: ConnectionOptions, input: ConnectionInput): ServerAddress {
  const after = { ...address, ...changedOptions(before, input) }
  requireOneAuthorization(after)
  return after
}

/** @param before whose protocol, host, port and path stay unless the body names others */
function placeOf (before: string, input: AddressInput): ServerAddress {
  if (input.apiUrl) return parseServerUrl(input.apiUrl, 'apiUrl')
  const { protocol, pathname } = new URL(before)
  const known = hostAndPort(before)
  const host = input.host || known.host
  const name = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
  const field = input.host ? 'host' : 'port'
  return parseServerUrl(`${protocol}//${name}:${input.port ?? known.port}${pathname}`, field)
}

/** User name and password as far as they are known; null or empty for "none". */
interface Credentials {
  readonly username?: string | null | undefined
  readonly password?: string | null | undefined
}

function merged (before: Credentials, after: Credentials): Credentials {
  const username = after.username === undefined ? before.username : after.username
  return { username, password: after.password === undefined ? before.password : after.password }
}

/** Whichever of the three spellings a body uses. */
function credentialsOf ({ username, password, authUser, authPass, auth }: AddressInput): Credentials {
  const both = auth === undefined ? {} : pairOf(auth)
  return merged(both, merged({ username: authUser, password: authPass }, { username, password }))
}

function pairOf (auth: NonNullable<AddressInput['auth']> | null): Credentials {
  if (auth === null || auth === '') return { username: null, password: null }
  if (typeof auth !== 'string') return { username: auth.username ?? auth.user, password: auth.password ?? auth.pass }
  const colon = auth.indexOf(':')
  if (colon < 0) throw invalid('auth', 'auth must be "user:password", or an object with username and password.')
  return { username: auth.slice(0, colon), password: auth.slice(colon + 1) }
}

/** Without a user name there are no credentials: `--api-auth` always has both. */
function withCredentials (baseUrl: string, { username, password }: Credentials, field: string): ServerAddress {
  if (username?.includes(':') === true) throw invalid(field, 'A user name cannot have a colon; HTTP Basic ends it there.')
  if (username) return { baseUrl, username, password: password ?? '' }
  // Removing the user removes the password with it.
  if (username === undefined && password) throw invalid(field, 'A password needs the user name that it belongs to.')
  return { baseUrl }
}

function invalid (field: string, sentence: string): ServiceError {
  return new ServiceError('invalid_field_value', sentence, { field })
}
