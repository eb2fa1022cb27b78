import { X509Certificate } from 'node:crypto'
import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import type { ServerInput } from '../../schemas/server.ts'
import type { ServerAddress } from '../a1111/types.ts'
import { classOf, isUnspecified } from '../egress/address-classes.ts'
import { hostOf, portOf } from '../egress/guard.ts'
import { parseAllowed } from '../egress/rules.ts'
import { withDeadline } from '../lib/deadline.ts'
import { messageOf, ServiceError } from '../lib/errors.ts'
import type { Destination } from '../lib/http/connect.ts'
import { unmapped } from '../lib/ip.ts'
import { withoutTrailing } from '../lib/text.ts'

/** The fields of a request body for the headers of requests to a server and its certificates. */
type ConnectionInput = Partial<Pick<ServerInput, 'headers' | 'bearer' | 'ca' | 'tls_verify'>>

/** Headers, token and trust of a server: everything that belongs to its address except user and password. */
export type ConnectionOptions = Pick<ServerAddress, 'headers' | 'bearer' | 'ca' | 'tlsVerify'>

const maxHeaders = 32

/** Hop-by-hop headers (RFC 9110, 7.6.1) belong to one connection, which our HTTP client makes. */
const hopByHop = [
  'connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer',
  'transfer-encoding', 'upgrade', 'http2-settings', 'expect'
]
/** Headers that describe the request itself. */
const ours = ['host', 'content-length', 'content-type', 'content-encoding', 'accept', 'accept-encoding']

/**
 * The stored options after a body: omitted ones stay, null and empty ones are removed.
 * @throws ServiceError `invalid_field_value` naming the field
 */
function changedOptions (before: ConnectionOptions, input: ConnectionInput): ConnectionOptions {
  const headers = input.headers === undefined ? before.headers : headersOf(input.headers ?? {})
  const bearer = input.bearer === undefined ? before.bearer : bearerOf(input.bearer ?? '')
  const ca = input.ca === undefined ? before.ca : certificatesOf(input.ca ?? '')
  const tlsVerify = input.tls_verify === undefined ? before.tlsVerify : input.tls_verify ?? undefined
  return {
    ...(headers === undefined ? {} : { headers }),
    ...(bearer === undefined ? {} : { bearer }),
    ...(ca === undefined ? {} : { ca }),
    ...(tlsVerify === false ? { tlsVerify } : {})
  }
}

/**
 * User and password, a bearer token and a custom header are all sent as `Authorization`, which exists only once.
 * @throws ServiceError `invalid_field_value` naming the field
 */
function requireOneAuthorization ({ username, bearer, headers = {} }: ServerAddress): void {
  const header = Object.keys(headers).find(name => name.toLowerCase() === 'authorization')
  if (username !== undefined && bearer !== undefined) {
    throw invalid('bearer', 'bearer and username would both be sent as Authorization; set one of them to null.')
  }
  if (header !== undefined && (username !== undefined || bearer !== undefined)) {
    const other = username === undefined ? 'bearer' : 'username'
    throw invalid(`headers.${header}`, `headers.${header} and ${other} would both be sent as Authorization; leave one out.`)
  }
}

/** The options that a server loses with its old address, in words; empty for none. */
export function lostOptions (before: ServerAddress, after: ServerAddress): string {
  if (before.baseUrl === after.baseUrl) return ''
  const lost = ([
    ['username', 'user name and password'], ['bearer', 'bearer token'], ['headers', 'headers'],
    ['ca', 'certificate authorities'], ['tlsVerify', 'tls_verify']
  ] as const).filter(([name]) => before[name] !== undefined && after[name] === undefined).map(([, words]) => words)
  return lost.length === 0
    ? ''
    : ` What was stored for its old address was dropped: ${lost.join(', ')}. Send it again if it belongs to the new one too.`
}

function headersOf (given: Readonly<Record<string, string>>): ConnectionOptions['headers'] {
  const entries = Object.entries(given)
  if (entries.length > maxHeaders) throw invalid('headers', `headers has ${entries.length} names; the most is ${maxHeaders}.`)
  const seen = new Set<string>()
  for (const [name, value] of entries) {
    const lower = name.toLowerCase()
    if (!/^[\w!#$%&'*+\-.^`|~]+$/.test(name)) {
      throw invalid('headers', `headers has the name ${JSON.stringify(name)}; names of headers have letters, digits and hyphens.`)
    }
    if (hopByHop.includes(lower) || ours.includes(lower)) {
      throw invalid(`headers.${name}`, `headers.${name} cannot be set: it is part of how this service makes each request.`)
    }
    if (seen.has(lower)) throw invalid(`headers.${name}`, `headers.${name} is there twice; case does not count.`)
    seen.add(lower)
    requirePrintable(`headers.${name}`, value)
  }
  return entries.length === 0 ? undefined : Object.fromEntries(entries.map(([name, value]) => [name, value.trim()]))
}

/** The value is not shown: it can be a secret. */
function requirePrintable (field: string, value: string): void {
  if (/[\r\n\0]/.test(value)) throw invalid(field, `${field} has a line break or NUL; the value of a header is one line.`)
  if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
    throw invalid(field, `${field} has characters that a header cannot have; use printable ASCII.`)
  }
}

function bearerOf (given: string): string | undefined {
  const token = given.trim().replace(/^bearer +/i, '')
  if (token === '') return undefined
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw invalid('bearer', 'bearer must be only the token: printable ASCII without spaces and line breaks.')
  }
  return token
}

function certificatesOf (given: string): string | undefined {
  const pem = given.trim()
  if (pem === '') return undefined
  if (pem.includes('PRIVATE KEY')) throw invalid('ca', 'ca has a private key; send only the certificate.')
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0) {
    throw invalid('ca', 'ca must be one or more certificates in PEM: -----BEGIN CERTIFICATE----- and so on.')
  }
  for (const block of blocks) {
    try {
      // eslint-disable-next-line no-new
      new X509Certificate(block)
    } catch (error) {
      throw invalid('ca', `ca has a certificate that cannot be read: ${messageOf(error)}.`)
    }
  }
  return `${blocks.join('\n')}\n`
}

function invalid (field: string, sentence: string): ServiceError {
  return new ServiceError('invalid_field_value', sentence, { field })
}

/** Defaults for a body with a host. */
const defaultAddress = 'http://127.0.0.1:7860'

/** The fields of a request body for a server's address and credentials. */
export type AddressInput = Partial<Pick<ServerInput,
  'apiUrl' | 'url' | 'host' | 'port' | 'username' | 'password' | 'authUser' | 'authPass' | 'auth'>> & ConnectionInput

/** Where a server listens, as clients see it. */
export function hostAndPort (baseUrl: string): { host: string, port: number } {
  const url = new URL(baseUrl)
  return { host: url.hostname, port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80) }
}

/**
 * Address and credentials from one URL, such as `http://user:pass@host:7860/`.
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
  const parsed = addressField(input) === null ? null : parsedAddress(defaultAddress, input)
  if (parsed === null) {
    throw new ServiceError('missing_required_field', 'Give apiUrl (or url), such as http://127.0.0.1:7860, or host and port.',
      { field: 'apiUrl' })
  }
  return withOptions(withCredentials(parsed.baseUrl, merged(parsed, credentialsOf(input)), 'username'), {}, input)
}

/**
 * The address of a server after a change: omitted fields stay as they were. Passwords, tokens and headers belong to the
 * address that they were given for: if the server moves elsewhere, they are dropped.
 * @throws ServiceError `invalid_field_value` naming the field
 */
export function changedAddress (before: ServerAddress, input: AddressInput): ServerAddress {
  const parsed = parsedAddress(before.baseUrl, input)
  const kept = parsed.baseUrl === before.baseUrl ? before : {}
  return withOptions(
    withCredentials(parsed.baseUrl, merged(merged(kept, parsed), credentialsOf(input)), 'username'), kept, input)
}

function withOptions (address: ServerAddress, before: ConnectionOptions, input: ConnectionInput): ServerAddress {
  const after = { ...address, ...changedOptions(before, input) }
  requireOneAuthorization(after)
  return after
}

/**
 * The field that names the address; null for none.
 * @throws ServiceError `invalid_field_value` for two addresses
 */
export function addressField ({ apiUrl, url, host }: AddressInput): 'apiUrl' | 'url' | 'host' | null {
  if (apiUrl && url && !isDeepStrictEqual(parseServerUrl(apiUrl, 'apiUrl'), parseServerUrl(url, 'url'))) {
    throw invalid('url', 'url and apiUrl name two addresses; send one of them.')
  }
  return apiUrl ? 'apiUrl' : url ? 'url' : host ? 'host' : null
}

/** @param before its protocol, host, port and path stay unless the body names others */
function parsedAddress (before: string, input: AddressInput): ServerAddress {
  const named = addressField(input)
  const url = input.apiUrl || input.url
  if (url && named !== null) return parseServerUrl(url, named)
  const { protocol, pathname } = new URL(before)
  const known = hostAndPort(before)
  const host = input.host || known.host
  const name = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
  const field = input.host ? 'host' : 'port'
  return parseServerUrl(`${protocol}//${name}:${input.port ?? known.port}${pathname}`, field)
}

/** User name and password if known; null or empty for "none". */
interface Credentials {
  readonly username?: string | null | undefined
  readonly password?: string | null | undefined
}

function merged (before: Credentials, after: Credentials): Credentials {
  const username = after.username === undefined ? before.username : after.username
  return { username, password: after.password === undefined ? before.password : after.password }
}

/** Reads all three spellings. */
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

type Resolve = (host: string) => Promise<readonly LookupAddress[]>

/**
 * The allowed addresses of servers: not link-local addresses and metadata services, unless SERVERS_ALLOW lists them.
 */
export interface ServerReach {
  /** The addresses that a connection to a server can use. @throws AddressNotAllowed if there are none */
  resolve (destination: Destination): Promise<readonly LookupAddress[]>
  /**
   * Refuses now what connections would refuse later. An unknown name passes: each connection checks it.
   * @throws ServiceError `invalid_field_value` naming the field
   */
  check (baseUrl: string, field: string): Promise<void>
}

/** A server's address is not allowed. */
export class AddressNotAllowed extends Error {
  override readonly name = 'AddressNotAllowed'
  readonly code = 'ERR_ADDRESS_NOT_ALLOWED'
}

/** Names of metadata services. Only their clouds resolve them; elsewhere no address identifies them. */
const metadataNames = new Set(['metadata.google.internal', 'metadata.goog', 'instance-data.ec2.internal'])

/** How long a request waits for a name before it goes on without, in milliseconds. */
const checkPatience = 1000

const resolveAll: Resolve = async host => await lookup(host, { all: true, verbatim: true })

/** @throws Error for a wrong entry of `allow` */
export function createServerReach (allow: readonly string[], lookUp: Resolve = resolveAll): ServerReach {
  const allowed = allow.map(parseAllowed)

  const isListed = (host: string, address: string, port: number) =>
    allowed.some(({ fits }) => fits({ host, address, port, reach: 'private' }))

  async function resolve ({ host: spelled, port }: Destination): Promise<readonly LookupAddress[]> {
    const host = withoutTrailing(spelled.toLowerCase(), '.')
    const family = isIP(host)
    if (metadataNames.has(host) && !isListed(host, '', port)) {
      throw new AddressNotAllowed(`${host} is the name of a metadata service, where no server is allowed; if one really is ` +
        `be there, add ${host} to the setting SERVERS_ALLOW.`)
    }
    const addresses = family === 0 ? await lookUp(host) : [{ address: host, family }]
    // Names of a local network often have a link-local address too; the others suffice.
    const open = addresses.filter(({ address }) => isUnspecified(address) || classOf(address) !== 'forbidden' ||
      isListed(host, unmapped(address), port))
    const [closed] = addresses
    if (open.length > 0 || closed === undefined) return open
    const at = family === 0 ? `${host} is at ${closed.address}, which` : `${host}`
    throw new AddressNotAllowed(`${at} is a link-local, metadata or otherwise special address, where no server is allowed; ` +
      `if one is meant to be there, add ${family === 0 ? host : closed.address} to the setting SERVERS_ALLOW.`)
  }

  return {
    resolve,
    async check (baseUrl, field) {
      const url = new URL(baseUrl)
      await withDeadline(checkPatience, [], async signal => await Promise.race([
        resolve({ host: hostOf(url), port: portOf(url) }),
        new Promise(resolve => { signal.addEventListener('abort', resolve, { once: true }) })
      ])).catch((error: unknown) => {
        if (error instanceof AddressNotAllowed) throw new ServiceError('invalid_field_value', error.message, { field })
      })
    }
  }
}
