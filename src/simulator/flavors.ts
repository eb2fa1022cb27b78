/** Servers that can be simulated. */
export const flavors = ['a1111', 'forge', 'forge-classic', 'forge-neo', 'reforge', 'sdnext', 'sdcpp'] as const
export type Flavor = typeof flavors[number]

/** The program that a flavour derives from: everything else here is the same. */
export type Family = 'a1111' | 'forge' | 'sdcpp'

/** Differences of a flavour from its family. */
export interface FlavorProfile {
  readonly family: Family
  /** Its version in `info`; null if it gives none. */
  readonly version: string | null
  /** Routes of the family that it lacks, without `/sdapi/v1/`. */
  readonly lacks: readonly string[]
  /** Settings that only it has. */
  readonly options: Readonly<Record<string, unknown>>
  /** Whether a request ends its process while its port is open and its API is not there. */
  readonly isFragile: boolean
  /** Whether `/internal/progress` knows the API's generations. */
  readonly knowsTasks: boolean
}

const training = ['train/embedding', 'train/hypernetwork']
const oldParts = [
  'interrogate', 'hypernetworks', 'realesrgan-models', 'create/embedding', 'create/hypernetwork', ...training
]

export const profiles: Readonly<Record<Flavor, FlavorProfile>> = {
  a1111: { family: 'a1111', version: '1.10.1', lacks: [], options: {}, isFragile: true, knowsTasks: true },
  forge: {
    family: 'forge',
    version: 'f2.0.1v1.10.1-previous-669-gdfdcbab6',
    lacks: training,
    options: {},
    isFragile: false,
    knowsTasks: true
  },
  'forge-classic': {
    family: 'a1111',
    version: 'classic-1.5',
    lacks: ['schedulers', ...oldParts],
    options: { show_rescale_cfg: false, paste_safe_guard: false, prefer_vae_precision_float16: false, fp8_fast: false },
    isFragile: true,
    knowsTasks: true
  },
  'forge-neo': {
    family: 'forge',
    version: 'neo-2.7',
    lacks: ['reload-checkpoint', ...oldParts],
    options: {
      ...Object.fromEntries(['sd', 'xl', 'flux', 'klein', 'qwen', 'lumina', 'zit', 'wan'].flatMap(preset =>
        [[`forge_checkpoint_${preset}`, null], [`forge_additional_modules_${preset}`, []]]))
    },
    isFragile: false,
    knowsTasks: true
  },
  reforge: {
    family: 'a1111',
    version: '1.10.1',
    lacks: [],
    options: { reforge_karras_rho: 7, reforge_normal_sgm: false, dynamic_clip_skip_enabled: false },
    isFragile: true,
    knowsTasks: true
  },
  sdnext: {
    family: 'a1111',
    version: null,
    lacks: [
      'latent-upscale-modes', 'hypernetworks', 'realesrgan-models', 'refresh-embeddings', 'interrogate',
      'create/embedding', 'create/hypernetwork', ...training
    ],
    options: {
      diffusers_pipeline: 'Autodetect', diffusers_offload_mode: 'balanced', schedulers_solver_order: 0, sd_text_encoder: 'Default'
    },
    isFragile: false,
    knowsTasks: false
  },
  sdcpp: {
    family: 'sdcpp', version: 'stable-diffusion.cpp', lacks: [], options: {}, isFragile: false, knowsTasks: true
  }
}
