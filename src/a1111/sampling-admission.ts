import type { A1111Parameters } from '../../schemas/generation-parameters.ts'
import type { AdmittingServer, Settle } from './admission.ts'
import type { Hints } from './aliases.ts'
import { definedOnly } from './field-values.ts'
import { rulesOf } from './kinds/registry.ts'
import { findSampler, findScheduler, type SamplerChoice } from './sampler-names.ts'
import type { Inventory } from './types.ts'

/** Two fields that belong together: those of the generation, or those of its second pass. */
interface FieldPair {
  readonly sampler: 'sampler_name' | 'hr_sampler_name'
  readonly scheduler: 'scheduler' | 'hr_scheduler'
}

/**
 * Samplers and schedulers by the server's own names, in the form of its time: two fields since A1111 1.9,
 * one name before.
 */
export function settleSampling (
  parameters: A1111Parameters, hints: Hints, server: AdmittingServer, settle: Settle
): A1111Parameters {
  const { inventory } = server
  const hinted = {
    sampler_name: known(hints.sampler, name => findSampler(name, inventory)),
    scheduler: known(hints.scheduler, name => findScheduler(name, inventory))
  }
  const asked: A1111Parameters = { ...definedOnly(hinted), ...parameters }
  const main = settlePair(asked, { sampler: 'sampler_name', scheduler: 'scheduler' }, server, settle)
  const both = settlePair(main, { sampler: 'hr_sampler_name', scheduler: 'hr_scheduler' }, server, settle)
  const { usualSampler } = rulesOf(server.traits)
  const usual = usualSampler === null ? undefined : findSampler(usualSampler, inventory)?.sampler
  return definedOnly<unknown>({ sampler_name: usual, ...both })
}

/** The name, if the server has it. */
function known (name: string | undefined, find: (name: string) => unknown): string | undefined {
  return name === undefined || find(name) === null ? undefined : name
}

function settlePair (
  given: A1111Parameters, pair: FieldPair, server: AdmittingServer, settle: Settle
): A1111Parameters {
  const { inventory, traits } = server
  const { [pair.sampler]: sampler, [pair.scheduler]: scheduler, ...others } = given
  const chosen = sampler === undefined ? null : chooseSampler(sampler, pair.sampler)
  const schedule = scheduler === undefined ? chosen?.scheduler ?? null : chooseScheduler(scheduler)
  const joint = chosen !== null && scheduler !== undefined ? jointName(chosen.sampler, scheduler, inventory) : null
  return definedOnly({
    ...others,
    [pair.sampler]: joint ?? chosen?.sampler,
    [pair.scheduler]: joint !== null || schedule === null ? undefined : rulesOf(traits).schedulerName(schedule)
  })

  function chooseSampler (wanted: string, field: string): SamplerChoice | null {
    if (inventory.missing.includes('samplers')) return { sampler: wanted, scheduler: null }
    const find = () => findSampler(wanted, inventory)
    const candidates = inventory.samplers.map(({ name }) => name)
    return settle({ wanted, field, code: 'sampler_not_found', noun: 'sampler', find, candidates })
  }

  function chooseScheduler (wanted: string) {
    if (inventory.missing.includes('schedulers')) return { name: wanted, label: wanted }
    const find = () => findScheduler(wanted, inventory)
    const candidates = inventory.schedulers.map(({ label }) => label)
    return settle({ wanted, field: pair.scheduler, code: 'scheduler_not_found', noun: 'scheduler', find, candidates })
  }
}

/** The one name that a server from before schedulers has for both. */
function jointName (sampler: string, scheduler: string, inventory: Inventory): string | null {
  if (!inventory.missing.includes('schedulers')) return null
  return findSampler(`${sampler} ${scheduler}`, inventory)?.sampler ?? null
}
