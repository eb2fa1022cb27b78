/** A sampler as GET /sdapi/v1/samplers shows it; option values are strings there, at Forge not. */
export interface Sampler {
  readonly name: string
  readonly aliases: readonly string[]
  readonly options: Readonly<Record<string, string | boolean>>
}

/** A scheduler as GET /sdapi/v1/schedulers shows it. */
export interface Scheduler {
  readonly name: string
  readonly label: string
  readonly aliases: readonly string[] | null
  readonly default_rho: number
  readonly need_inner_model: boolean
}

const karras = { scheduler: 'karras' }
const secondOrder = { second_order: 'True' }
const ancestral = { uses_ensd: 'True' }
const brownian = { brownian_noise: 'True' }
const discards = { discard_next_to_last_sigma: 'True' }

function sampler (name: string, aliases: readonly string[], options: Readonly<Record<string, string>> = {}): Sampler {
  return { name, aliases, options }
}

/** The samplers of A1111 1.10.1 in its own order; the first one replaces every unknown name. */
export const samplers: readonly Sampler[] = [
  sampler('DPM++ 2M', ['k_dpmpp_2m'], karras),
  sampler('DPM++ SDE', ['k_dpmpp_sde'], { ...karras, ...secondOrder, ...brownian }),
  sampler('DPM++ 2M SDE', ['k_dpmpp_2m_sde'], { scheduler: 'exponential', ...brownian }),
  sampler('DPM++ 2M SDE Heun', ['k_dpmpp_2m_sde_heun'],
    { scheduler: 'exponential', ...brownian, solver_type: 'heun' }),
  sampler('DPM++ 2S a', ['k_dpmpp_2s_a'], { ...karras, ...ancestral, ...secondOrder }),
  sampler('DPM++ 3M SDE', ['k_dpmpp_3m_sde'], { scheduler: 'exponential', ...discards, ...brownian }),
  sampler('Euler a', ['k_euler_a', 'k_euler_ancestral'], ancestral),
  sampler('Euler', ['k_euler']),
  sampler('LMS', ['k_lms']),
  sampler('Heun', ['k_heun'], secondOrder),
  sampler('DPM2', ['k_dpm_2'], { ...karras, ...discards, ...secondOrder }),
  sampler('DPM2 a', ['k_dpm_2_a'], { ...karras, ...discards, ...ancestral, ...secondOrder }),
  sampler('DPM fast', ['k_dpm_fast'], ancestral),
  sampler('DPM adaptive', ['k_dpm_ad'], ancestral),
  sampler('Restart', ['restart'], { ...karras, ...secondOrder }),
  sampler('DDIM', ['ddim']),
  sampler('DDIM CFG++', ['ddim_cfgpp']),
  sampler('PLMS', ['plms']),
  sampler('UniPC', ['unipc']),
  sampler('LCM', ['k_lcm'])
]

function scheduler (
  name: string, label: string, extra: Partial<Omit<Scheduler, 'name' | 'label'>> = {}
): Scheduler {
  return { name, label, aliases: null, default_rho: -1, need_inner_model: false, ...extra }
}

const inner = { need_inner_model: true }

/** The schedulers of A1111 1.10.1 in its own order. */
export const schedulers: readonly Scheduler[] = [
  scheduler('automatic', 'Automatic'),
  scheduler('uniform', 'Uniform', inner),
  scheduler('karras', 'Karras', { default_rho: 7 }),
  scheduler('exponential', 'Exponential'),
  scheduler('polyexponential', 'Polyexponential', { default_rho: 1 }),
  scheduler('sgm_uniform', 'SGM Uniform', { aliases: ['SGMUniform'], ...inner }),
  scheduler('kl_optimal', 'KL Optimal'),
  scheduler('align_your_steps', 'Align Your Steps'),
  scheduler('simple', 'Simple', inner),
  scheduler('normal', 'Normal', inner),
  scheduler('ddim', 'DDIM', inner),
  scheduler('beta', 'Beta', inner)
]

/** SD.Next's samplers in the order of its menu: no aliases, and no scheduler apart. */
export const sdnextSamplers = [
  'Default', 'UniPC', 'DEIS', 'DDIM', 'Euler', 'Euler a', 'Euler SGM', 'DPM++', 'DPM++ 1S', 'DPM++ 2M', 'DPM++ 3M',
  'DPM++ 2M SDE', 'DPM++ 2M EDM', 'DPM++ SDE', 'Heun', 'LCM', 'Euler FlowMatch', 'UniPC FlowMatch'
].map(name => ({ name, aliases: [], options: {} }))

/** Samplers that only Forge has, after Restart. */
const addedByForge: readonly Sampler[] = [
  sampler('HeunPP2', ['heunpp2']), sampler('IPNDM', ['ipndm']), sampler('IPNDM_V', ['ipndm_v']), sampler('DEIS', ['deis'])
]

/** Forge's samplers, which have `true` where A1111 has "True". */
export const forgeSamplers: readonly Sampler[] = [
  ...samplers.flatMap(one => one.name === 'Restart' ? [one, ...addedByForge] : [one]),
  sampler('DDPM', ['ddpm'])
].map(one => ({
  ...one,
  options: Object.fromEntries(Object.entries(one.options).map(([name, value]) => [name, value === 'True' ? true : value]))
}))

/** Forge Classic's samplers: one name for a sampler and its schedule. */
export const classicSamplers: readonly Sampler[] = [
  ...['DPM++ 2M Karras', 'DPM++ SDE Karras', 'DPM++ 2M SDE Karras', 'DPM++ 3M SDE Karras', 'DPM2 Karras', 'LMS Karras']
    .map(name => sampler(name, [], karras)),
  ...samplers.map(({ name, aliases }) => sampler(name, aliases))
]

export const forgeSchedulers: readonly Scheduler[] = [
  ...schedulers,
  scheduler('turbo', 'Turbo', inner),
  scheduler('align_your_steps_GITS', 'Align Your Steps GITS'),
  scheduler('align_your_steps_11', 'Align Your Steps 11'),
  scheduler('align_your_steps_32', 'Align Your Steps 32')
]

/**
 * The sampler and schedule type that A1111 chooses for two names. It never refuses any: it splits off scheduler words
 * at the end of the sampler's name, unknown samplers become the first one, unknown schedulers Automatic.
 */
export function pickSampler (
  lists: { readonly samplers: readonly Sampler[], readonly schedulers: readonly Scheduler[] },
  samplerName: string | null, schedulerName: string | null
): { sampler: Sampler, schedulerLabel: string } {
  const [automatic] = lists.schedulers as [Scheduler]
  const [fallback] = lists.samplers as [Sampler]
  let name = samplerName || fallback.name
  let picked = lists.schedulers.find(one => namesOf(one).includes(schedulerName ?? '')) ?? automatic
  for (const candidate of lists.schedulers) {
    const suffix = namesOf(candidate).find(word => name.endsWith(` ${word}`))
    if (suffix === undefined) continue
    picked = candidate
    name = name.slice(0, -(suffix.length + 1))
  }
  const sampler = lists.samplers.find(one => one.name === name) ?? fallback
  const isItsOwn = sampler.options.scheduler === picked.name
  return { sampler, schedulerLabel: isItsOwn ? automatic.label : picked.label }
}

/** The schedule that really runs: Automatic means the sampler's own, if it has one; null if none is named. */
export function effectiveSchedule (
  lists: { readonly schedulers: readonly Scheduler[] }, sampler: Sampler, schedulerLabel: string
): string | null {
  if (schedulerLabel !== 'Automatic') return schedulerLabel
  return lists.schedulers.find(one => one.name === sampler.options.scheduler)?.label ?? null
}

function namesOf (one: Scheduler): readonly string[] {
  return [one.label, one.name, ...one.aliases ?? []]
}
