import { findCheckpoint } from '../a1111/checkpoint-names.ts'
import { messageOf } from '../errors.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import { inventoriesOf } from './servers.ts'

/** What one server would make of a checkpoint's name. */
export interface Verdict {
  readonly alias: string
  /** The server's own title, that a job would be sent with; null where it has none. */
  readonly title: string | null
  /** Why there is none, where that is more than absence. */
  readonly problem: string | null
}

/** Looks a name up at every server exactly as a job's checkpoint is looked up. */
export async function verifyCheckpoint (
  name: string, { registry, states }: { registry: ServerRegistry, states: ServerStateStore }
): Promise<Verdict[]> {
  return (await inventoriesOf(registry, states)).map(({ server: { alias }, inventory }) => {
    if (inventory === null) return { alias, title: null, problem: 'The server was not read yet.' }
    try {
      return { alias, title: findCheckpoint(name, inventory)?.title ?? null, problem: null }
    } catch (error) {
      return { alias, title: null, problem: messageOf(error) }
    }
  })
}
