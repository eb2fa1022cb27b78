import type { Inventory } from './types.ts'
import { findNamed, folded } from './names.ts'

type Sampler = Inventory['samplers'][number]
type Scheduler = Inventory['schedulers'][number]

export interface SamplerChoice {
  /** The server's own name. */
  readonly sampler: string
  /** The scheduler that the wanted name carried; null where it named none. */
  readonly scheduler: Scheduler | null
}

const samplerNames = (sampler: Sampler) => [sampler.name, ...sampler.aliases]
const schedulerNames = (scheduler: Scheduler) => [scheduler.name, scheduler.label, ...scheduler.aliases]

/** A scheduler by name, label or alias, in any case. */
export function findScheduler (wanted: string, inventory: Pick<Inventory, 'schedulers'>): Scheduler | null {
  return findNamed(wanted, inventory.schedulers, schedulerNames)
}

/**
 * A sampler as any era and tool names it: `DPM++ 2M Karras` is one name before A1111 1.9 and a sampler
 * with a scheduler since; `k_euler_a`, `euler a` and `euler_ancestral` are the same.
 */
export function findSampler (
  wanted: string, inventory: Pick<Inventory, 'samplers' | 'schedulers'>
): SamplerChoice | null {
  const whole = findNamed(wanted, inventory.samplers, samplerNames)
  if (whole !== null) return { sampler: whole.name, scheduler: null }
  for (const [ending, scheduler] of schedulerEndings(inventory.schedulers)) {
    const name = folded(wanted)
    if (!name.endsWith(ending)) continue
    const sampler = findNamed(name.slice(0, -ending.length), inventory.samplers, samplerNames)
    if (sampler !== null) return { sampler: sampler.name, scheduler }
  }
  return null
}

/** Longest first, so that `SGM Uniform` is not taken for `Uniform`. */
function schedulerEndings (schedulers: readonly Scheduler[]): Array<[string, Scheduler]> {
  return schedulers
    .flatMap(scheduler => schedulerNames(scheduler).map((name): [string, Scheduler] => [folded(name), scheduler]))
    .sort(([one], [other]) => other.length - one.length)
}
