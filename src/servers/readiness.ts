import { rulesOf } from '../a1111/kinds/registry.ts'
import type { Inventory, ListName, ServerTraits } from '../a1111/types.ts'

/** Read when a model is loaded, which some servers do with their first generation. */
const filledLate: ReadonlySet<ListName> = new Set(['embeddings', 'styles', 'vaes'])

/**
 * What a server that has just come back has not got yet, as far as can be seen: routes that answered before, lists that
 * had something, and where nothing is known of it, what its kind has last.
 * @param before as it was accepted last; null where it was never seen
 */
export function missingAtStart (
  before: Inventory | null, now: Inventory, traits: Pick<ServerTraits, 'kind' | 'simulates'>
): ListName[] {
  if (before === null) return now.missing.filter(name => rulesOf(traits).mountedLast.includes(name))
  return listNames.filter(name => !before.missing.includes(name) &&
    (now.missing.includes(name) || (!filledLate.has(name) && isLost(before, now, name))))
}

/** Lists that had something and are empty now. */
export function lostLists (before: Inventory, now: Inventory): ListName[] {
  return listNames.filter(name => isLost(before, now, name))
}

/** The inventory with the named lists as they were before. */
export function withListsOf (before: Inventory, now: Inventory, names: readonly ListName[]): Inventory {
  const kept = Object.fromEntries(names.map(name => [name, before[name]]))
  return { ...now, ...kept, missing: now.missing.filter(name => !names.includes(name)) }
}

const listNames: readonly ListName[] = [
  'checkpoints', 'samplers', 'schedulers', 'upscalers', 'latentUpscaleModes', 'vaes', 'loras', 'embeddings', 'styles',
  'scripts', 'controlNetModels', 'controlNetModules'
]

function isLost (before: Inventory, now: Inventory, name: ListName): boolean {
  return lengthOf(before, name) > 0 && lengthOf(now, name) === 0
}

function lengthOf (inventory: Inventory, name: ListName): number {
  const { txt2img, img2img } = inventory.scripts
  return name === 'scripts' ? txt2img.length + img2img.length : inventory[name].length
}

const words: Readonly<Partial<Record<ListName, string>>> = {
  latentUpscaleModes: 'latent upscale modes',
  loras: 'LoRAs',
  vaes: 'VAEs',
  controlNetModels: 'ControlNet models',
  controlNetModules: 'ControlNet modules'
}

/** The lists, for people. */
export function inWords (names: readonly ListName[]): string {
  return names.map(name => words[name] ?? name).join(', ')
}

/** What a request trips over at a server whose scripts have no default arguments yet, in Python's words. */
const unfinished = /list assignment index out of range|missing \d+ required positional arguments?|not enough values to unpack/i

/** Whether an error may come of a start that is not over, in place of the request. */
export function mayBeOfStart (message: string): boolean {
  return unfinished.test(message)
}
