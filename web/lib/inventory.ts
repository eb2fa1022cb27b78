import type { Inventory, Server } from './api-types.ts'
import { servers } from './service.ts'

/** Names that a form offers. */
export type Offered = Readonly<Record<
  'checkpoints' | 'vaes' | 'samplers' | 'schedulers' | 'upscalers' | 'latent_upscale_modes', readonly string[]
>>

/**
 * The servers from which the service chooses for a job that names none: without the simulators once a real server has
 * answered. `serversThatCount` of `src/servers/choose.ts` is the rule.
 */
export function serversThatCount (known: readonly Server[]): readonly Server[] {
  const enabled = known.filter(({ enabled }) => enabled)
  const real = enabled.filter(server => !server.is_simulator)
  return real.some(({ last_answer_at: answered }) => answered !== null) ? real : enabled
}

/** Servers that can get a job: the named one, or all from which the service chooses. */
function candidates (known: readonly Server[], alias: string) {
  return alias === '' ? serversThatCount(known) : known.filter(server => server.alias === alias)
}

/**
 * The names that a job for this server can use, or for any server if the alias is empty.
 * @returns names under checkpoints, samplers, schedulers and so on
 */
export async function readChoices (known: readonly Server[], alias: string, signal: AbortSignal): Promise<Offered> {
  const inventories = await Promise.all(candidates(known, alias).map(server => servers.inventory(server.alias, signal)))
  const union = (pick: (inventory: Inventory) => readonly string[]) => [...new Set(inventories.flatMap(pick))]
  return {
    checkpoints: union(({ checkpoints }) => checkpoints.map(({ title }) => title)),
    vaes: union(({ vaes }) => vaes),
    samplers: union(({ samplers }) => samplers),
    schedulers: union(({ schedulers }) => schedulers),
    upscalers: union(({ upscalers }) => upscalers),
    latent_upscale_modes: union(({ latent_upscale_modes: modes }) => modes)
  }
}
