import type { Inventory } from '../a1111/types.ts'
import { serversThatCount } from '../servers/choose.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'

export interface ServerInventory {
  readonly server: Server
  /** Null until the server was read for the first time. */
  readonly inventory: Inventory | null
}

/**
 * The enabled servers and their last reported lists. The simulator's invented models are left out once a real server
 * has answered.
 */
export async function inventoriesOf (
  registry: ServerRegistry, states: ServerStateStore
): Promise<ServerInventory[]> {
  const servers = registry.list()
  const known = await states.readMany(servers.map(({ id }) => id))
  const counting = serversThatCount(servers.map((server, index) => ({ server, state: known[index] ?? null })))
  return await Promise.all(counting.map(async ({ server }) =>
    ({ server, inventory: await states.inventory(server.id) })))
}

/** Names that exist on every server. */
const defaultVaes = ['Automatic', 'None']

/** The names that all servers together have, in the servers' order. */
export function unionOfLists (inventories: ReadonlyArray<Inventory | null>) {
  const known = inventories.filter(inventory => inventory !== null)
  const union = (namesOf: (inventory: Inventory) => readonly string[]) => [...new Set(known.flatMap(namesOf))]
  return {
    checkpoints: union(({ checkpoints }) => checkpoints.map(({ modelName }) => modelName)),
    vaes: [...new Set([...defaultVaes, ...union(({ vaes }) => vaes)])],
    samplers: union(({ samplers }) => samplers.map(({ name }) => name)),
    upscalers: union(({ upscalers }) => upscalers),
    schedulers: union(({ schedulers }) => schedulers.map(({ label, name }) => label || name)),
    loras: union(({ loras }) => loras.map(({ name }) => name)),
    controlnet_models: union(({ controlNetModels }) => controlNetModels),
    controlnet_modules: union(({ controlNetModules }) => controlNetModules),
    scripts: union(({ scripts }) => [...scripts.txt2img, ...scripts.img2img])
  }
}
