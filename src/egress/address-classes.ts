import { isIP, isIPv6 } from 'node:net'
import { contains, dotted, groupsOf, networkList, unmapped } from '../lib/ip.ts'

/**
 * public: on the internet. private: a home, an office, this machine, or reserved for documents and the like; settings
 * can allow it. forbidden: no request has business there, least of all at the metadata services of clouds.
 */
export type AddressClass = 'public' | 'private' | 'forbidden'

/**
 * Never reachable: "this network", link-local with the metadata service of most clouds, multicast, reserved and
 * broadcast (RFC 6890), and the metadata services of Azure, Alibaba, Oracle, AWS and Google that lie elsewhere.
 */
const forbidden = networkList([
  '0.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4', '168.63.129.16', '100.100.100.200', '192.0.0.192',
  '::', 'fe80::/10', 'ff00::/8', 'fd00:ec2::/32', 'fd20:ce::254'
])

/** Home and office networks, this machine, shared address space and reserved ranges (IANA special registries). */
const privateIPv4 = networkList([
  '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24',
  '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24'
])

/** Only 2000::/3 is assigned to the public, and some of that is reserved too. */
const globalIPv6 = networkList(['2000::/3'])
const setAsideIPv6 = networkList(['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20', '2620:4f:8000::/48'])

/** The networks that the profile `lan` opens: private use, this machine, shared address space and unique local. */
const lan = networkList([
  '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '::1', 'fc00::/7'
])

/** @param address IPv4 or IPv6 without brackets; anything else is forbidden */
export function classOf (address: string): AddressClass {
  const plain = unmapped(address)
  const family = isIP(plain)
  const inner = embedded(plain)
  if (family === 0 || contains(forbidden, plain) || (inner !== null && contains(forbidden, inner))) return 'forbidden'
  if (family === 4) return contains(privateIPv4, plain) ? 'private' : 'public'
  return contains(globalIPv6, plain) && !contains(setAsideIPv6, plain) ? 'public' : 'private'
}

/** Whether an address belongs to a network at home, in the office or in this machine. */
export function isLan (address: string): boolean {
  return contains(lan, unmapped(address))
}

/** "All addresses of this machine" for listeners; for a connection, this machine. */
export function isUnspecified (address: string): boolean {
  return ['0.0.0.0', '::'].includes(unmapped(address))
}

/**
 * The IPv4 address that translators make of an IPv6 one: of 64:ff9b::/96 (RFC 6052), 64:ff9b:1::/48 (RFC 8215, where
 * its last 32 bits are used), ::ffff:0:0:0/96 (RFC 2765), of 2002::/16 (RFC 3056) and of the old ::/96. Null for any
 * other address.
 */
function embedded (address: string): string | null {
  if (!isIPv6(address)) return null
  const groups = groupsOf(address)
  const prefix = groups.slice(0, 6).map(group => group.toString(16)).join(':')
  const [high = 0, low = 0] = groups[0] === 0x2002 ? groups.slice(1, 3) : groups.slice(6)
  const isEmbedding = groups[0] === 0x2002 || prefix.startsWith('64:ff9b:1:') ||
    ['64:ff9b:0:0:0:0', '0:0:0:0:ffff:0'].includes(prefix) ||
    // ::1 and :: are addresses of their own
    (prefix === '0:0:0:0:0:0' && high > 0)
  return isEmbedding ? dotted(high, low) : null
}
