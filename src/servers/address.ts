import { ServiceError } from '../errors.ts'
import type { ServerAddress } from '../a1111/types.ts'
import type { ServerInput } from '../../schemas/server.ts'

const defaultPort = 7860

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
    throw new ServiceError('invalid_field_value',
      `${field} must be an http or https address such as http://127.0.0.1:7860.`, { field })
  }
  if (url.search !== '' || url.hash !== '') {
    throw new ServiceError('invalid_field_value', `${field} must end with host, port or path; remove what follows it.`,
      { field })
  }
  const baseUrl = `${url.origin}${url.pathname.replace(/\/+$/, '')}`
  return url.username === ''
    ? { baseUrl }
    : { baseUrl, username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) }
}

/** The address of a request body, whichever of the three spellings of the credentials it uses. */
export function addressOf (input: ServerInput): ServerAddress {
  const fromUrl = baseAddress(input)
  const username = input.username ?? input.authUser ?? pair(input.auth)?.username
  if (!username) return fromUrl
  const password = input.password ?? input.authPass ?? pair(input.auth)?.password ?? ''
  return { baseUrl: fromUrl.baseUrl, username, password }
}

function baseAddress (input: ServerInput): ServerAddress {
  if (input.apiUrl) return parseServerUrl(input.apiUrl, 'apiUrl')
  if (input.host) {
    const host = input.host.includes(':') && !input.host.startsWith('[') ? `[${input.host}]` : input.host
    return parseServerUrl(`http://${host}:${input.port ?? defaultPort}`, 'host')
  }
  throw new ServiceError('missing_required_field', 'Give apiUrl, such as http://127.0.0.1:7860, or host and port.',
    { field: 'apiUrl' })
}

function pair (auth: ServerInput['auth']): { username: string, password: string } | undefined {
  if (auth === null || auth === undefined) return undefined
  if (typeof auth === 'string') {
    const colon = auth.indexOf(':')
    return colon < 0 ? undefined : { username: auth.slice(0, colon), password: auth.slice(colon + 1) }
  }
  const username = auth.username ?? auth.user
  return username === undefined ? undefined : { username, password: auth.password ?? auth.pass ?? '' }
}

/** Whether a request body says anything about credentials, so that an update knows to keep the stored ones. */
export function mentionsCredentials (input: ServerInput): boolean {
  const given = [input.username, input.authUser, input.auth].some(value => value !== undefined)
  return given || (input.apiUrl !== undefined && parseServerUrl(input.apiUrl, 'apiUrl').username !== undefined)
}
