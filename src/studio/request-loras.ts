import type { Warning } from '../../schemas/generation-parameters.ts'
import { readLoras } from '../a1111/lora-tags.ts'
import { findLora } from '../a1111/model-names.ts'
import { nearest } from '../a1111/nearest.ts'
import { ServiceError } from '../errors.ts'
import type { FreshLists } from '../servers/fresh-lists.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { Server } from '../servers/server.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import { inventoriesOf } from '../models/servers.ts'
import { mergedLoras, type WeightedLora } from './lora-prompt.ts'
import { says, type Said } from './parameters.ts'

export interface RequestLoras {
  readonly loras: readonly WeightedLora[]
  readonly warnings: readonly Warning[]
}

/**
 * The LoRAs of a request beside its prompt: its own, and those of its user's session that a server has. What is only
 * remembered must not keep every picture from being drawn.
 * @throws ServiceError `invalid_field_value`, or `model_not_found` with the nearest names for one of the request's own
 */
export async function lorasOf (
  said: Said, remembered: readonly WeightedLora[], sources: LoraSources
): Promise<RequestLoras> {
  const own = readLoras('loras', said.loras).map(({ name, weight }): WeightedLora => [name, weight])
  const target = says(said, 'server') ? String(said.server) : ''
  const before = await knownLoras(target, sources)
  const isComplete = own.every(([filename]) => before.isKnown(filename))
  if (!isComplete) await Promise.all(before.servers.map(async server => await sources.readAgain(server, ['loras'])))
  const { isKnown, names, whoLacks } = isComplete ? before : await knownLoras(target, sources)
  const missing = own.find(([filename]) => !isKnown(filename))
  if (missing !== undefined) {
    const near = nearest(missing[0], names)
    const advice = near.length === 0 ? '' : ` Nearest: ${near.join(', ')}.`
    throw new ServiceError('model_not_found', `${whoLacks} LoRA "${missing[0].slice(0, 200)}".${advice}`, { field: 'loras', nearest: near })
  }
  return {
    loras: mergedLoras(own, remembered.filter(([filename]) => isKnown(filename))),
    warnings: remembered.filter(([filename]) => !isKnown(filename)).map(([filename]) => ({
      code: 'session_lora_left_out',
      message: `${whoLacks} LoRA ${filename}, so that of the session was left out.`,
      field: 'loras'
    }))
  }
}

/** A LoRA that was added a moment ago is looked for once more. */
export interface LoraSources extends Pick<FreshLists, 'readAgain'> {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
}

interface KnownLoras {
  /** Those that may run it. */
  readonly servers: readonly Server[]
  /** Whether a server that may run it has it, or may have it because it has not told yet. */
  readonly isKnown: (filename: string) => boolean
  readonly names: readonly string[]
  /** Begin of a sentence on what is missing. */
  readonly whoLacks: string
}

/** @param target alias of the server that is to run it; empty for any */
async function knownLoras (target: string, { registry, states }: LoraSources): Promise<KnownLoras> {
  const named = registry.byAlias(target)
  const told = named === undefined
    ? (await inventoriesOf(registry, states)).map(({ inventory }) => inventory)
    : [await states.inventory(named.id)]
  const silent = told.some(inventory => inventory === null || inventory.missing.includes('loras'))
  const inventories = told.flatMap(inventory => inventory ?? [])
  return {
    servers: named === undefined ? registry.list().filter(({ enabled }) => enabled) : [named],
    isKnown: filename => silent || inventories.some(inventory => findLora(filename, inventory) !== null),
    names: [...new Set(inventories.flatMap(({ loras }) => loras.map(({ name }) => name)))],
    whoLacks: named === undefined ? 'No server has the' : `The server ${named.alias} has no`
  }
}
