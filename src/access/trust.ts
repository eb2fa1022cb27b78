import { type BlockList, isIP, isIPv6 } from 'node:net'
import { SettingsError } from '../config/parse.ts'
import { ServiceError } from '../lib/errors.ts'
import { contains, isNetwork, networkList, isLoopback } from '../lib/ip.ts'
import type { RequestHeaders } from './credentials.ts'

/** Clients without credentials: none (`token`), people at this machine (`loopback`), or peers in given networks. */
export type TrustMode = 'loopback' | 'token' | 'networks'

export interface TrustRules {
  readonly mode: TrustMode
  /** Why UI_AUTH grants less than its value, for the log; null if it applies fully. */
  readonly restriction: string | null
  readonly trustedNetworks: BlockList
  readonly trustedProxies: BlockList
}

export interface TrustSettings {
  readonly HOST: string
  readonly UI_AUTH: 'auto' | 'token' | 'none'
  readonly UI_TRUSTED_CIDRS: readonly string[]
  readonly TRUSTED_PROXIES: readonly string[]
  readonly PUBLIC_HOSTS: readonly string[]
  readonly PUBLIC_URL: string
}

/** Origin of a request. */
export interface RequestOrigin {
  /** Address at the other end of the socket. */
  readonly peer: string | undefined
  /** Address in the forwarding headers, as far as TRUSTED_PROXIES vouch for it; else the peer. */
  readonly client: string
  readonly headers: RequestHeaders
  /** As Node gives it: `1.0` or `1.1`. */
  readonly httpVersion: string
}

/**
 * Each of these headers means another client behind the peer, whatever it contains: headers of proxies, load balancers,
 * content delivery networks and tunnels.
 */
const forwardingHeader = new RegExp(`^(?:${[
  '(?:x-)?forwarded(?:-.*)?', 'via', 'cdn-loop', 'x-real-?ip', 'x-origina(?:l|ting)-.*', '(?:.*-)?client-?ip', 'cf-.*',
  'x-envoy-.*', 'x-amzn-trace-id', 'x-amz-cf-id', 'x-azure-.*', 'x-arr-.*', 'x-appengine-.*', 'x-remote-(?:ip|addr)',
  'x-proxyuser-ip', 'fly-.*', 'ngrok-.*', 'tailscale-.*'
].join('|')})$`)

/**
 * `auto` on any address but loopback behaves as `token`, and so does every UI_AUTH once the service has a public name:
 * a reverse proxy at this machine looks like a person at this machine, and not every proxy identifies itself. With
 * `none`, TRUSTED_PROXIES distinguish the two.
 * @throws SettingsError for an invalid network
 */
export function createTrustRules (settings: TrustSettings): TrustRules {
  return {
    ...modeOf(settings),
    trustedNetworks: networks('UI_TRUSTED_CIDRS', settings.UI_TRUSTED_CIDRS),
    trustedProxies: networks('TRUSTED_PROXIES', settings.TRUSTED_PROXIES)
  }
}

function modeOf (settings: TrustSettings): Pick<TrustRules, 'mode' | 'restriction'> {
  const { UI_AUTH: asked, HOST: host } = settings
  const wanted = asked === 'none' ? 'networks' : asked === 'auto' && isLoopbackListener(host) ? 'loopback' : 'token'
  const named = publicName(settings)
  if (wanted === 'token' || named === null) return { mode: wanted, restriction: null }
  if (wanted === 'loopback') {
    return {
      mode: 'token',
      restriction: `${named}, so the web UI and keyless programs need the admin token or a key, at this machine too`
    }
  }
  if (settings.TRUSTED_PROXIES.length > 0) return { mode: 'networks', restriction: null }
  return {
    mode: 'token',
    restriction: `${named}, so UI_TRUSTED_CIDRS are not trusted until TRUSTED_PROXIES names the proxy in front, which ` +
      'must send X-Forwarded-For; until then the admin token or a key is needed'
  }
}

/** Why the service counts as reached from elsewhere, such as `PUBLIC_HOSTS has queue.example`; null if it does not. */
function publicName ({ PUBLIC_HOSTS, PUBLIC_URL }: TrustSettings): string | null {
  const host = PUBLIC_HOSTS.find(name => !isThisMachine(name))
  if (host !== undefined) return `PUBLIC_HOSTS has ${host}`
  if (PUBLIC_URL === '' || isThisMachine(new URL(PUBLIC_URL).hostname)) return null
  return `PUBLIC_URL is at ${new URL(PUBLIC_URL).hostname}`
}

/** Whether the client has full rights by its address, without any credentials. */
export function isTrustedByAddress (rules: TrustRules, origin: RequestOrigin): boolean {
  if (rules.mode === 'token') return false
  if (!isForwarded(origin)) {
    return rules.mode === 'loopback'
      ? isLoopback(origin.peer) && isThisMachine(hostOf(origin))
      : contains(rules.trustedNetworks, origin.peer)
  }
  // Only X-Forwarded-For of a known proxy names the client behind it.
  return rules.mode === 'networks' && String(origin.headers['x-forwarded-for'] ?? '').trim() !== '' &&
    contains(rules.trustedProxies, origin.peer) && contains(rules.trustedNetworks, origin.client)
}

/** nginx adds no header by itself, but speaks HTTP/1.0 by default; browsers and libraries speak 1.1. */
export function isForwarded ({ headers, httpVersion }: Pick<RequestOrigin, 'headers' | 'httpVersion'>): boolean {
  if (httpVersion === '1.0') return true
  for (const name in headers) if (isOfProxy(name)) return true
  return false
}

/** Of names of headers that came before: nearly all requests have the same few. */
const known = new Map<string, boolean>()
const mostKnown = 500

function isOfProxy (name: string): boolean {
  const before = known.get(name)
  if (before !== undefined) return before
  const answer = forwardingHeader.test(name.replaceAll('_', '-'))
  if (known.size < mostKnown) known.set(name, answer)
  return answer
}

/** The name or address in the Host header, without port. */
function hostOf ({ headers }: RequestOrigin): string {
  return typeof headers.host === 'string' ? headers.host.replace(/:\d+$/, '') : ''
}

/** Names and addresses that always mean the machine that uses them. */
export function isThisMachine (host: string): boolean {
  const name = host.trim().toLowerCase().replace(/^\[|\]$|\.$/g, '')
  return name === 'localhost' || name.endsWith('.localhost') || isLoopback(name)
}

function isLoopbackListener (host: string): boolean {
  return host.toLowerCase() === 'localhost' || isLoopback(host.replace(/^\[|\]$/g, ''))
}

/**
 * @param setting where the networks are given
 * @param cidrs networks such as 172.16.0.0/12, or single addresses
 */
function networks (setting: string, cidrs: readonly string[]): BlockList {
  const wrong = cidrs.find(cidr => !isNetwork(cidr))
  if (wrong === undefined) return networkList(cidrs)
  throw new SettingsError(`${setting} has ${JSON.stringify(wrong)}, but each must be a network such as 172.16.0.0/12`)
}

/** The parts of a request that show whether a web page, and which, made a browser send it. */
export interface PageRequest {
  readonly method: string
  readonly headers: RequestHeaders
  /** Origins of this service, such as http://localhost:3000. */
  readonly ownOrigins: readonly string[]
}

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Every browser that has fetch metadata sends Sec-Fetch-Site with it. The other Sec-Fetch headers prove nothing: Node's
 * own fetch sends Sec-Fetch-Mode.
 */
function isFromBrowser ({ headers }: PageRequest): boolean {
  return ['sec-fetch-site', 'origin', 'cookie'].some(name => headers[name] !== undefined)
}

/** Another port of this machine is another origin too: A1111's pages come from there. */
function isForeign ({ headers, ownOrigins }: PageRequest, friends: readonly string[]): boolean {
  const origin = headers.origin === undefined ? null : String(headers.origin).toLowerCase()
  if (origin !== null && friends.includes(origin)) return false
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true
  return origin !== null && !ownOrigins.includes(origin)
}

/**
 * For requests that any page can make a browser send: those without credentials, or with Basic, which browsers add by
 * themselves.
 * @param friends other origins whose pages can send this
 * @throws ServiceError cross_site_request
 */
export function refuseForeignPage (page: PageRequest, friends: readonly string[]): void {
  if (!isForeign(page, friends)) return
  throw new ServiceError('cross_site_request',
    'A web page of another origin cannot do this without an access key: its origin must be in CORS_ORIGINS, and ' +
    'it must send X-API-Key and X-API-Secret')
}

/** A person follows a link from elsewhere to a page of ours. */
export function isNavigation ({ method, headers }: PageRequest): boolean {
  return method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document'
}

export function isSafe ({ method }: Pick<PageRequest, 'method'>): boolean {
  return safeMethods.has(method)
}

/**
 * Before a change, requires of a browser a header that no form and no page of another origin can add. Programs, which
 * send neither Origin nor Sec-Fetch-Site nor Cookie, need none.
 * @throws ServiceError cross_site_request
 */
export function refuseUnmarkedChange (page: PageRequest): void {
  if (isSafe(page) || !isFromBrowser(page) || page.headers['x-requested-with'] === 'ui') return
  throw new ServiceError('cross_site_request', 'Changes from a web page need the header X-Requested-With: ui')
}

/**
 * The guard against DNS rebinding: such an attack always has a name of the attacker's in Host, so IP literals and
 * localhost pass, and other names only if the operator gave them.
 */
export interface HostRules {
  /** Names besides localhost, lower-case; one with a leading dot allows what is below it. */
  readonly names: readonly string[]
}

/**
 * @param publicHosts the setting PUBLIC_HOSTS
 * @param publicUrl the setting PUBLIC_URL; its name is allowed too
 * @param listenerHost the setting HOST; allowed too when it is a name
 */
export function createHostRules (
  { publicHosts, publicUrl, listenerHost }: { publicHosts: readonly string[], publicUrl: string, listenerHost: string }
): HostRules {
  const own = publicUrl === '' ? [] : [new URL(publicUrl).hostname]
  const names = [...publicHosts, ...own, listenerHost].map(name => name.trim().toLowerCase().replace(/\.$/, ''))
  return { names: names.filter(name => name !== '' && name !== '.') }
}

const nameWithPort = /^([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)\.?(?::\d{1,5})?$/
const addressWithPort = /^\[([0-9a-f:.]+)\](?::\d{1,5})?$/

/** @param hostHeaders every Host header of the request, in order; anything but exactly one is refused */
export function isAllowedHost (rules: HostRules, hostHeaders: readonly string[]): boolean {
  const [header, ...more] = hostHeaders
  if (header === undefined || more.length > 0) return false
  const text = header.toLowerCase()
  const bracketed = addressWithPort.exec(text)?.[1]
  if (bracketed !== undefined) return isIPv6(bracketed)
  const name = nameWithPort.exec(text)?.[1]
  if (name === undefined) return false
  return isIP(name) !== 0 || name === 'localhost' || name.endsWith('.localhost') ||
    rules.names.some(allowed => allowed.startsWith('.') ? name.endsWith(allowed) : name === allowed)
}

/** Every value of one header, as sent: Node keeps only the first Host of several. */
export function headerValues (rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() === name) values.push(rawHeaders[index + 1] ?? '')
  }
  return values
}
