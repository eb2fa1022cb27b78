import type { Inventory } from '../a1111/types.ts'
import { isSimulator } from '../servers/choose.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'

export interface ServerInventory {
  readonly server: Server
  /** Null until the server was read for the first time. */
  readonly inventory: Inventory | null
}

/**
 * The enabled servers and their last reported lists. The simulator's invented models are left out beside a real server.
 */
export async function inventoriesOf (
  registry: ServerRegistry, states: ServerStateStore
): Promise<ServerInventory[]> {
  const enabled = registry.list().filter(server => server.enabled)
  const known = await states.readMany(enabled.map(({ id }) => id))
  const real = enabled.filter((server, index) => !isSimulator(server, known[index] ?? null))
  return await Promise.all((real.length > 0 ? real : enabled).map(async server =>
    ({ server, inventory: await states.inventory(server.id) })))
}
