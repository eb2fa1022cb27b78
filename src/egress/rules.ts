import { isIP } from 'node:net'
import { contains, networkList, unmapped } from '../lib/ip.ts'
import { classOf, isLan } from './address-classes.ts'

/** How far the source of an address can reach: `private` is what the settings open, `public` the internet alone. */
export type Reach = 'public' | 'private'

export type EgressProfile = 'public' | 'lan' | 'strict'

export interface EgressSettings {
  /** public: the internet. lan: home networks and this machine too. strict: only what `allow` lists. */
  readonly profile: EgressProfile
  /** Networks or names, each with or without a port: `192.168.1.0/24`, `[fd00::]/8`, `nas.local:5000`. */
  readonly allow: readonly string[]
}

/** Target of a connection. */
export interface Target {
  /** Host of the URL, as `URL` spells it, without brackets. */
  readonly host: string
  readonly address: string
  readonly port: number
  readonly reach: Reach
}

export interface EgressRules {
  /**
   * Why a connection is forbidden, or null if it is allowed.
   * @param own `address port` pairs that belong to the service itself
   */
  judge (target: Target, own: ReadonlySet<string>): string | null
}

/** One entry of EGRESS_ALLOW. */
interface Allowed {
  readonly fits: (target: Target) => boolean
}

/** @throws Error for an entry that is neither a network nor a name */
export function createEgressRules ({ profile, allow }: EgressSettings): EgressRules {
  const allowed = allow.map(parseAllowed)
  return {
    judge (target, own) {
      const address = unmapped(target.address)
      const at = isIP(target.host) === 0 ? `${target.host} is at ${address}` : address
      // A listener on this machine answers at all of 127.0.0.0/8.
      const seat = /^127\./.test(address) ? '127.0.0.1' : address
      if (own.has(`${seat} ${target.port}`)) {
        return `${at}, port ${target.port}, which belongs to this service itself and can never be called`
      }
      const kind = classOf(address)
      if (kind === 'forbidden') return `${at}, where nothing can be called`
      const listed = target.reach === 'private' && allowed.some(({ fits }) => fits({ ...target, address }))
      if (listed) return null
      if (profile === 'strict') return `${at}, which EGRESS_ALLOW does not list, and EGRESS_PROFILE is strict`
      if (kind === 'public') return null
      if (target.reach === 'public') {
        return `${at}, which is not on the internet; this needs an access key with the scope webhooks:private`
      }
      if (profile === 'lan' && isLan(address)) return null
      return `${at}, which is not on the internet; EGRESS_PROFILE=lan or EGRESS_ALLOW opens such addresses`
    }
  }
}

/** @throws Error for a text that is neither a network nor a name, each with or without a port */
export function parseAllowed (entry: string): Allowed {
  const [, bracketed, bits6, port6] = /^\[([\da-f:.]+)\](\/\d{1,3})?(?::(\d{1,5}))?$/i.exec(entry) ?? []
  const [, host = '', bits4, port4] = /^([^/:\s[\]]+)(\/\d{1,2})?(?::(\d{1,5}))?$/.exec(entry) ?? []
  const bare6 = isIP(entry.split('/')[0] ?? '') === 6
  const name = bracketed ?? (bare6 ? entry.split('/')[0] ?? '' : host)
  const bits = bits6 ?? (bare6 ? /\/\d{1,3}$/.exec(entry)?.[0] : bits4) ?? ''
  const port = bare6 ? undefined : port6 ?? port4
  const longest = { 4: 32, 6: 128 }[isIP(name)] ?? -1
  const isName = longest < 0 && bits === '' && /^[\w-]+(\.[\w-]+)*$/.test(name)
  if (!isName && (longest < 0 || Number(bits.slice(1)) > longest)) {
    throw new Error('must be a network or a name such as 192.168.1.0/24, [fd00::]/8 or nas.local:5000')
  }
  const fitsPort = (target: Target) => port === undefined || Number(port) === target.port
  if (isName) return { fits: target => fitsPort(target) && target.host.toLowerCase() === name.toLowerCase() }
  const list = networkList([`${name}${bits}`])
  return { fits: target => fitsPort(target) && contains(list, target.address) }
}
