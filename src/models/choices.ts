import type { Inventory } from '../a1111/types.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import { inventoriesOf } from './servers.ts'

export const choiceKinds = ['samplers', 'schedulers', 'upscalers'] as const
export type ChoiceKind = (typeof choiceKinds)[number]

/** Something that a job may name and that is no file of ours, and who offers it. */
export interface Choice {
  readonly name: string
  readonly label: string
  readonly aliases: readonly string[]
  /** Aliases of servers. */
  readonly servers: readonly string[]
}

type Offer = Omit<Choice, 'servers'>

const offersOf: Readonly<Record<ChoiceKind, (inventory: Inventory) => readonly Offer[]>> = {
  samplers: ({ samplers }) => samplers.map(({ name, aliases }) => ({ name, label: name, aliases })),
  schedulers: ({ schedulers }) => schedulers,
  upscalers: ({ upscalers, latentUpscaleModes }) =>
    [...latentUpscaleModes, ...upscalers].map(name => ({ name, label: name, aliases: [] }))
}

/** What all servers offer of one kind, in the order in which the first of them lists it. */
export async function listChoices (
  kind: ChoiceKind, { registry, states }: { registry: ServerRegistry, states: ServerStateStore }
): Promise<Choice[]> {
  const choices = new Map<string, Offer & { servers: string[] }>()
  for (const { server, inventory } of await inventoriesOf(registry, states)) {
    for (const offer of inventory === null ? [] : offersOf[kind](inventory)) {
      const found = choices.get(offer.name)
      if (found === undefined) choices.set(offer.name, { ...offer, servers: [server.alias] })
      else found.servers.push(server.alias)
    }
  }
  return [...choices.values()]
}
