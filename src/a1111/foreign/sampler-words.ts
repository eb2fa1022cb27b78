/** Names of samplers in ComfyUI and its kin (comfy/samplers.py), and A1111's (sd_samplers_kdiffusion.py). */
const samplers: Readonly<Record<string, string>> = {
  euler: 'Euler',
  euler_ancestral: 'Euler a',
  euler_a: 'Euler a',
  heun: 'Heun',
  dpm_2: 'DPM2',
  dpm_2_ancestral: 'DPM2 a',
  dpm_2_a: 'DPM2 a',
  kdpm_2: 'DPM2',
  kdpm_2_a: 'DPM2 a',
  lms: 'LMS',
  dpm_fast: 'DPM fast',
  dpm_adaptive: 'DPM adaptive',
  dpmpp_2s: 'DPM++ 2S a',
  dpmpp_2s_ancestral: 'DPM++ 2S a',
  dpmpp_sde: 'DPM++ SDE',
  dpmpp_2m: 'DPM++ 2M',
  dpmpp_2m_sde: 'DPM++ 2M SDE',
  dpmpp_2m_sde_heun: 'DPM++ 2M SDE Heun',
  dpmpp_3m_sde: 'DPM++ 3M SDE',
  ddim: 'DDIM',
  ddim_v3: 'DDIM',
  plms: 'PLMS',
  ddpm: 'DDPM',
  lcm: 'LCM',
  uni_pc: 'UniPC',
  uni_pc_bh2: 'UniPC',
  unipc: 'UniPC'
}

/** The same for schedulers (A1111's sd_schedulers.py). */
const schedulers: Readonly<Record<string, string>> = {
  normal: 'Normal',
  karras: 'Karras',
  exponential: 'Exponential',
  polyexponential: 'Polyexponential',
  sgm_uniform: 'SGM Uniform',
  simple: 'Simple',
  ddim_uniform: 'DDIM',
  beta: 'Beta',
  kl_optimal: 'KL Optimal',
  align_your_steps: 'Align Your Steps',
  ays: 'Align Your Steps'
}

/** A1111's name of a sampler, whichever program named it; the name itself where A1111 has no such sampler. */
export function samplerOf (name: string): string {
  const plain = name.trim().toLowerCase().replace(/^(?:sample_)?k_/, '').replace(/_gpu$/, '')
  return Object.hasOwn(samplers, plain) ? samplers[plain] ?? name : name
}

export function schedulerOf (name: string): string {
  const plain = name.trim().toLowerCase()
  return Object.hasOwn(schedulers, plain) ? schedulers[plain] ?? name : name
}
