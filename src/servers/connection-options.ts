import { X509Certificate } from 'node:crypto'
import type { ServerAddress } from '../a1111/types.ts'
import { messageOf, ServiceError } from '../errors.ts'
import type { ServerInput } from '../../schemas/server.ts'

/** What a request body says of how requests to a server look and whose certificate it may show. */
export type ConnectionInput = Partial<Pick<ServerInput, 'headers' | 'bearer' | 'ca' | 'tls_verify'>>

/** Headers, token and trust of a server: all that belongs to its address besides user and password. */
export type ConnectionOptions = Pick<ServerAddress, 'headers' | 'bearer' | 'ca' | 'tlsVerify'>

const mostHeaders = 32

/** Hop-by-hop headers (RFC 9110, 7.6.1) belong to one connection, which our HTTP client makes. */
const hopByHop = [
  'connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer',
  'transfer-encoding', 'upgrade', 'http2-settings', 'expect'
]
/** What says how the request is made up. */
const ours = ['host', 'content-length', 'content-type', 'content-encoding', 'accept', 'accept-encoding']

/**
 * What is stored after a body: what it leaves out stays, null and empty remove.
 * @throws ServiceError `invalid_field_value` naming the field
 */
export function changedOptions (before: ConnectionOptions, input: ConnectionInput): ConnectionOptions {
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
 * User and password, a bearer token and a header of one's own are all sent as `Authorization`, which there is one of.
 * @throws ServiceError `invalid_field_value` naming the field
 */
export function requireOneAuthorization ({ username, bearer, headers = {} }: ServerAddress): void {
  const header = Object.keys(headers).find(name => name.toLowerCase() === 'authorization')
  if (username !== undefined && bearer !== undefined) {
    throw invalid('bearer', 'bearer and username would both be sent as Authorization; set one of them to null.')
  }
  if (header !== undefined && (username !== undefined || bearer !== undefined)) {
    const other = username === undefined ? 'bearer' : 'username'
    throw invalid(`headers.${header}`, `headers.${header} and ${other} would both be sent as Authorization; leave one out.`)
  }
}

/** What a server loses with its old address, in words; empty for nothing. */
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
  if (entries.length > mostHeaders) throw invalid('headers', `headers has ${entries.length} names; the most is ${mostHeaders}.`)
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

/** The value is not shown: it may be a secret. */
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
