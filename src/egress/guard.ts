import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { createHttpClient, type HttpClient } from '../lib/http/client.ts'
import type { Destination } from '../lib/http/connect.ts'
import { isLoopback, unmapped } from '../lib/ip.ts'
import { isUnspecified } from './address-classes.ts'
import { createEgressRules, type EgressSettings, type Reach } from './rules.ts'

/** An address of the service: one of its servers, its Redis, its own listener. */
export interface OwnAddress {
  /** Name or address, without brackets. */
  readonly host: string
  readonly port: number
}

type Resolve = (host: string) => Promise<readonly LookupAddress[]>

/** How long resolved names of our own addresses are cached, in milliseconds. */
const lifetime = 10_000

/**
 * Lists the addresses that no address chosen by others can reach, as `address port`. A listener on this machine is
 * assumed to listen on all of its addresses.
 * @param places read again whenever the answer is older than ten seconds
 */
function createOwnAddresses (
  places: () => readonly OwnAddress[], resolve: Resolve
): () => Promise<ReadonlySet<string>> {
  let known: { readonly set: ReadonlySet<string>, readonly text: string, readonly until: number } | null = null

  async function addressesOf ({ host, port }: OwnAddress, here: readonly string[]): Promise<string[]> {
    const addresses = isIP(host) === 0
      ? (await resolve(host).catch(() => [])).map(({ address }) => unmapped(address))
      : [unmapped(host)]
    const local = addresses.some(address => isLoopback(address) || here.includes(address) || isUnspecified(address))
    return (local ? [...addresses, ...here] : addresses).map(address => `${address} ${port}`)
  }

  return async () => {
    const current = places()
    const text = JSON.stringify(current)
    if (known !== null && known.text === text && performance.now() < known.until) return known.set
    const here = ownInterfaces()
    const found = await Promise.all(current.map(async place => await addressesOf(place, here)))
    known = { set: new Set(found.flat()), text, until: performance.now() + lifetime }
    return known.set
  }
}

function ownInterfaces (): string[] {
  const interfaces = Object.values(networkInterfaces()).flatMap(list => list ?? [])
  const addresses = interfaces.map(({ address }) => unmapped(address))
  return [...new Set(['127.0.0.1', '::1', ...addresses])]
}

/** A forbidden address; its sentence says which setting would change that, if any. */
export class EgressRefusal extends Error {
  override readonly name = 'EgressRefusal'
}

/** The one door to addresses that users or third parties chose. */
export interface EgressGuard {
  /**
   * Rejects now an address that would be refused later. A name that cannot be resolved in time passes: each call checks
   * it again.
   * @throws EgressRefusal
   */
  check (url: URL, reach: Reach): Promise<void>
  /**
   * Calls such addresses, each request on a connection of its own, to no address but the checked ones. Its requests
   * fail with EgressRefusal, or with the error of the network.
   */
  client (reach: Reach): Pick<HttpClient, 'request'>
  /** From now on this port of this machine is our own too. */
  protectPort (port: number): void
}

export interface EgressGuardDependencies {
  readonly settings: EgressSettings
  /** Our servers, Redis and other own addresses. */
  readonly places: () => readonly OwnAddress[]
  readonly resolve?: Resolve
  /** Milliseconds for connecting. */
  readonly connectTimeout?: number
}

/** How long a request waits for a name before it goes on without, in milliseconds. */
const checkPatience = 1000

const resolveAll: Resolve = async host => await lookup(host, { all: true, verbatim: true })

/** @throws Error for a wrong entry of EGRESS_ALLOW */
export function createEgressGuard (dependencies: EgressGuardDependencies): EgressGuard {
  const { settings, places, resolve = resolveAll, connectTimeout = 5000 } = dependencies
  const rules = createEgressRules(settings)
  const ports = new Set<number>()
  const ownAddresses = createOwnAddresses(
    () => [...places(), ...[...ports].map(port => ({ host: '127.0.0.1', port }))], resolve)

  /** The addresses to connect to. One bad address among good ones rejects all: such a name server is hostile. */
  async function judged ({ host, port }: Destination, reach: Reach): Promise<readonly LookupAddress[]> {
    const family = isIP(host)
    const [addresses, own] = await Promise.all([
      family === 0 ? resolve(host) : [{ address: host, family }], ownAddresses()
    ])
    for (const { address } of addresses) {
      const reason = rules.judge({ host, address, port, reach }, own)
      if (reason !== null) throw new EgressRefusal(reason)
    }
    return addresses
  }

  const clientFor = (reach: Reach) => createHttpClient({
    connectTimeoutMs: connectTimeout, resolve: async destination => await judged(destination, reach)
  })
  const clients: Readonly<Record<Reach, HttpClient>> = { public: clientFor('public'), private: clientFor('private') }

  return {
    async check (url, reach) {
      let timer: NodeJS.Timeout | undefined
      const patience = new Promise<void>(resolve => { timer = setTimeout(resolve, checkPatience) })
      try {
        await Promise.race([judged({ host: hostOf(url), port: portOf(url) }, reach), patience])
      } catch (error) {
        if (error instanceof EgressRefusal) throw error
      } finally {
        clearTimeout(timer)
      }
    },
    client: reach => clients[reach],
    protectPort (port) { ports.add(port) }
  }
}

export function hostOf (url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '')
}

export function portOf (url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
}
