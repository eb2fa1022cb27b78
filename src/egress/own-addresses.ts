import type { LookupAddress } from 'node:dns'
import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { isLoopback } from '../access/trust.ts'
import { unmapped } from '../lib/ip.ts'
import { isUnspecified } from './address-classes.ts'

/** A place that belongs to the service: one of its servers, its Redis, its own listener. */
export interface OwnPlace {
  /** Name or address, without brackets. */
  readonly host: string
  readonly port: number
}

export type Resolve = (host: string) => Promise<readonly LookupAddress[]>

/** How long names of our own places are believed, in milliseconds. */
const lifetime = 10_000

/**
 * Tells the places that no address chosen by others may lead to, as `address port`. What listens on this machine is
 * taken to listen on all of its addresses.
 * @param places read anew whenever the answer is older than ten seconds
 */
export function createOwnAddresses (
  places: () => readonly OwnPlace[], resolve: Resolve
): () => Promise<ReadonlySet<string>> {
  let known: { readonly set: ReadonlySet<string>, readonly text: string, readonly until: number } | null = null

  async function addressesOf ({ host, port }: OwnPlace, here: readonly string[]): Promise<string[]> {
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
