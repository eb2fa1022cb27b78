import { BlockList, isIP, isIPv6 } from 'node:net'
import { SettingsError } from '../config/parse.ts'
import type { RequestHeaders } from './credentials.ts'

/** Who needs no credentials: nobody (`token`), people at this machine (`loopback`), or peers in given networks. */
export type TrustMode = 'loopback' | 'token' | 'networks'

export interface TrustRules {
  readonly mode: TrustMode
  readonly trustedNetworks: BlockList
  readonly trustedProxies: BlockList
}

export interface TrustSettings {
  readonly HOST: string
  readonly UI_AUTH: 'auto' | 'token' | 'none'
  readonly UI_TRUSTED_CIDRS: readonly string[]
  readonly TRUSTED_PROXIES: readonly string[]
}

/** Where a request comes from. */
export interface Caller {
  /** Address at the other end of the socket. */
  readonly peer: string | undefined
  /** Address that the forwarding headers name, as far as TRUSTED_PROXIES vouch for it; else the peer. */
  readonly client: string
  readonly headers: RequestHeaders
}

/** Any of these says that somebody else stands behind the peer, whatever they contain. */
const forwardingHeaders = ['x-forwarded-for', 'forwarded', 'x-real-ip', 'x-forwarded-host', 'via', 'cf-connecting-ip']

/**
 * `auto` on any address but loopback behaves as `token`: it fails closed.
 * @throws SettingsError when a network is not one
 */
export function createTrustRules (settings: TrustSettings): TrustRules {
  const mode = settings.UI_AUTH === 'none'
    ? 'networks'
    : settings.UI_AUTH === 'auto' && isLoopbackListener(settings.HOST) ? 'loopback' : 'token'
  return {
    mode,
    trustedNetworks: networks('UI_TRUSTED_CIDRS', settings.UI_TRUSTED_CIDRS),
    trustedProxies: networks('TRUSTED_PROXIES', settings.TRUSTED_PROXIES)
  }
}

/** Whether the caller has full rights by where it is, without any credentials. */
export function isTrustedByAddress (rules: TrustRules, caller: Caller): boolean {
  const forwarded = forwardingHeaders.some(name => caller.headers[name] !== undefined)
  if (rules.mode === 'loopback') return !forwarded && isLoopback(caller.peer)
  if (rules.mode === 'token') return false
  if (!forwarded) return contains(rules.trustedNetworks, caller.peer)
  return contains(rules.trustedProxies, caller.peer) && contains(rules.trustedNetworks, caller.client)
}

export function isLoopback (address: string | undefined): boolean {
  return contains(loopback, address)
}

function isLoopbackListener (host: string): boolean {
  return host.toLowerCase() === 'localhost' || isLoopback(host.replace(/^\[|\]$/g, ''))
}

const loopback = networks('loopback', ['127.0.0.0/8', '::1/128'])

/**
 * @param setting where the networks are given
 * @param cidrs networks such as 172.16.0.0/12, or single addresses
 */
function networks (setting: string, cidrs: readonly string[]): BlockList {
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [address = '', bits] = cidr.split('/')
    const longest = isIPv6(address) ? 128 : 32
    const prefix = bits === undefined ? longest : Number(bits || NaN)
    if (isIP(address) === 0 || !Number.isInteger(prefix) || prefix < 0 || prefix > longest) {
      throw new SettingsError(`${setting} has ${JSON.stringify(cidr)}, but each must be a network such as 172.16.0.0/12`)
    }
    list.addSubnet(address, prefix, isIPv6(address) ? 'ipv6' : 'ipv4')
  }
  return list
}

/** IPv4 rules meet IPv4-mapped IPv6 addresses too. */
function contains (list: BlockList, address: string | undefined): boolean {
  if (address === undefined || isIP(address) === 0) return false
  return list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}
