import type { LookupAddress } from 'node:dns'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { classOf, isUnspecified } from '../egress/address-classes.ts'
import { hostOf, portOf } from '../egress/guard.ts'
import { parseAllowed } from '../egress/rules.ts'
import { ServiceError } from '../errors.ts'
import { withDeadline } from '../lib/deadline.ts'
import type { Destination } from '../lib/http/connect.ts'
import { unmapped } from '../lib/ip.ts'
import { withoutTrailing } from '../lib/text.ts'

type Resolve = (host: string) => Promise<readonly LookupAddress[]>

/** Where servers may be: not at link-local addresses and metadata services, unless SERVERS_ALLOW lists them. */
export interface ServerReach {
  /** What a connection to a server may lead to. @throws AddressNotAllowed where that is nothing */
  resolve (destination: Destination): Promise<readonly LookupAddress[]>
  /**
   * Says now what would be refused later. A name that is not known passes: it is looked at whenever it is called.
   * @throws ServiceError `invalid_field_value` naming the field
   */
  check (baseUrl: string, field: string): Promise<void>
}

/** A server's address leads where none may be. */
export class AddressNotAllowed extends Error {
  override readonly name = 'AddressNotAllowed'
  readonly code = 'ERR_ADDRESS_NOT_ALLOWED'
}

/** Names of metadata services, which are known in their clouds alone: elsewhere no address tells what they are. */
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
    // Names of a local network often stand for a link-local address too; the others will do.
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
