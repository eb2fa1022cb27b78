import { findCheckpoint } from '../a1111/checkpoint-names.ts'
import { splitHash } from '../a1111/names.ts'
import { messageOf } from '../errors.ts'
import type { Server } from '../servers/server.ts'
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
  /** Titles of all its checkpoints. */
  readonly titles: readonly string[]
}

/**
 * Looks a name up exactly as a job's checkpoint is looked up.
 * @param server the only one that is looked at; all of them where it is left out
 */
export async function verifyCheckpoint (
  name: string, { registry, states }: { registry: ServerRegistry, states: ServerStateStore }, server?: Server
): Promise<Verdict[]> {
  const known = server === undefined
    ? await inventoriesOf(registry, states)
    : [{ server, inventory: await states.inventory(server.id) }]
  return known.map(({ server: { alias }, inventory }) => {
    if (inventory === null) return { alias, title: null, problem: 'The server was not read yet.', titles: [] }
    const titles = inventory.checkpoints.map(({ title }) => title)
    try {
      return { alias, title: findCheckpoint(name, inventory)?.title ?? null, problem: null, titles }
    } catch (error) {
      return { alias, title: null, problem: messageOf(error), titles }
    }
  })
}

/** A path as the servers write it: theirs where one has it, else the given one with their slashes. */
export function normalisedPath (given: string, verdicts: readonly Verdict[]): string {
  const own = verdicts.find(({ title }) => title !== null)?.title ?? null
  if (own !== null) return splitHash(own).name
  const usesBackslashes = verdicts.some(({ titles }) => titles.some(title => title.includes('\\')))
  return given.trim().replace(/[\\/]+/g, usesBackslashes ? '\\' : '/')
}
