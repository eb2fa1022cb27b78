import type { A1111Client } from '../a1111/client.ts'
import { probeServer } from '../a1111/probe.ts'
import type { ServerAddress } from '../a1111/types.ts'
import type { Config } from '../config/settings.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Log } from '../lib/logging.ts'
import { parseServerUrl, type ServerReach } from './address.ts'
import { sameAddress, type ServerOrigin, type ServerRegistry } from './registry.ts'

/** The alias of a server on this machine, configured or found. */
const localAlias = 'Local'

/** The servers that the settings name. @throws ServiceError for an invalid address */
export function serversOfSettings (config: Pick<Config, 'A1111_URL' | 'SERVERS'>): Array<{ alias: string, address: ServerAddress }> {
  const named = config.SERVERS.map(entry => {
    const [, alias = '', url = ''] = /^([^=]+)=(.*)$/.exec(entry) ?? []
    return { alias: alias.trim(), address: parseServerUrl(url, `SERVERS (${alias.trim()})`) }
  })
  return config.A1111_URL === ''
    ? named
    : [{ alias: localAlias, address: parseServerUrl(config.A1111_URL, 'A1111_URL') }, ...named]
}

/**
 * Registers the servers that the settings name, and updates entries whose address changed there.
 * @throws ServiceError for a new address that is not allowed
 */
export async function registerFromSettings (
  registry: ServerRegistry, config: Config, reach: Pick<ServerReach, 'check'>
): Promise<void> {
  for (const { alias, address } of serversOfSettings(config)) {
    // A server that was registered before stays, and its state shows the problem.
    const isKnown = registry.byAlias(alias)?.address.baseUrl === address.baseUrl
    if (!isKnown) await reach.check(address.baseUrl, `SERVERS (${alias})`)
    await registerAs(registry, alias, address, 'settings')
  }
}

/** Adds a server, or gives the one with that name this address. Several processes can do this at once. */
export async function registerAs (
  registry: ServerRegistry, alias: string, address: ServerAddress, origin: ServerOrigin
): Promise<void> {
  const known = registry.byAlias(alias)
  if (known !== undefined) {
    // The settings do not cover tokens and certificates: those of the same address stay.
    const { username: _user, password: _password, ...options } = known.address
    const wanted = known.address.baseUrl === address.baseUrl ? { ...options, ...address } : address
    if (!sameAddress(known.address, wanted)) await registry.update(known.id, { address: wanted })
    return
  }
  await registry.add({ alias, address, origin }).catch(async (error: unknown) => {
    if (!(error instanceof ServiceError && error.code === 'server_exists')) throw error
    await registry.refresh()
  })
}

/**
 * Looks for a server on this machine and registers it as `Local`.
 * @returns whether one was found
 */
export async function findLocalServer (
  registry: ServerRegistry, config: Config, connect: (address: ServerAddress) => A1111Client, log: Log
): Promise<boolean> {
  const address = parseServerUrl(config.LOCAL_A1111_URL, 'LOCAL_A1111_URL')
  const client = connect(address)
  try {
    const { kind } = await probeServer(client)
    await registerAs(registry, localAlias, address, 'found')
    log.info({ url: address.baseUrl, kind }, `found a server on this machine; registered as ${localAlias}`)
    return true
  } catch {
    return false
  } finally {
    await client.close()
  }
}
