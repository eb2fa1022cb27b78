import type { A1111Client } from '../a1111/client.ts'
import { type LoraFacts, readLoras } from '../a1111/inventory.ts'
import type { Inventory } from '../a1111/types.ts'
import type { Log } from '../lib/logging.ts'
import type { Server } from './registry.ts'
import type { ServerStateStore } from './state-store.ts'

/** Reads the metadata of a server's LoRAs beside everything else, as hundreds of megabytes take many seconds. */
export interface LoraPass {
  /** Files may have changed under their names: the next inventory begins a pass. */
  serverRestarted (): Promise<void>
  /**
   * Writes an inventory, and begins a pass if that is due for its LoRAs and none runs.
   * @param loraFacts as far as they were read with the inventory
   */
  writeInventory (inventory: Inventory, loraFacts: LoraFacts | null): Promise<void>
  /** Ends the pass that runs: the server went away. */
  stop (): void
  /** Ends it, waits until it writes nothing any more, and begins no other. */
  close (): Promise<void>
}

export interface LoraPassDependencies {
  readonly server: () => Server
  readonly client: A1111Client
  readonly states: Pick<ServerStateStore, 'loraFacts' | 'writeInventory'>
  readonly log: Log
}

export function createLoraPass ({ server, client, states, log }: LoraPassDependencies): LoraPass {
  const { loraFacts: store } = states
  let reading: Promise<void> | null = null
  let stopper = new AbortController()
  let closed = false

  async function read (listed: Inventory['loras'], signal: AbortSignal): Promise<void> {
    const serverId = server().id
    await store.exclusively(serverId, async () => {
      await store.begin(serverId, listed)
      const { loras, loraFacts } = await readLoras(client, signal)
      signal.throwIfAborted()
      await store.write(serverId, loras, loraFacts)
      await store.end(serverId, loras)
    }, signal)
  }

  function stop (): void {
    stopper.abort(new Error('the server went away'))
  }

  return {
    serverRestarted: async () => { await store.askAgain(server().id) },
    async writeInventory (inventory, loraFacts) {
      await states.writeInventory(server().id, inventory, loraFacts)
      if (reading !== null || closed || !await store.isDue(server().id, inventory.loras) || closed) return
      stopper = new AbortController()
      reading = read(inventory.loras, stopper.signal)
        .catch(error => { log.debug({ server: server().alias, err: error }, 'could not read the metadata of all LoRAs') })
        .finally(() => { reading = null })
    },
    stop,
    async close () {
      closed = true
      stop()
      await reading
    }
  }
}
