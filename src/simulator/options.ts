import { isDeepStrictEqual } from 'node:util'
import { fileOptions, interfaceOptions, samplingOptions } from '../a1111/option-defaults.ts'
import { PythonError } from '../fastapi/errors.ts'
import { noteFloat } from '../lib/exact-json.ts'
import { profiles } from './flavors.ts'
import type { SimulatorSettings } from './settings.ts'

/**
 * A1111's options. A fresh config file has the few that its extensions add by themselves. Only options that were set
 * since, or were in the file, can be restored after an override: all others leak into later jobs.
 */
export interface Options {
  /** As the API shows them: unset ones with their defaults, so that nothing shows which are set. */
  all (): Record<string, unknown>
  get (key: string): unknown
  /**
   * As the API sets one; an unchanged value stays untouched.
   *
   * @throws PythonError for a key that does not exist
   */
  set (key: string, value: unknown): void
  /** As the user interface sets one, and Forge's API too: those that A1111's API must not set are no exception. */
  setAny (key: string, value: unknown): void
  /** Sets without a check, as A1111 does for its own values. */
  write (key: string, value: unknown): void
  /** Values to restore after an override of these keys. */
  remember (keys: readonly string[]): Record<string, unknown>
  /** Writes the config file, with whatever is set now. */
  save (): void
}

/** Options that the API must not set; it answers 200 and leaves them unchanged. */
const restricted = new Set([
  'samples_filename_pattern', 'directories_filename_pattern', 'outdir_samples', 'outdir_txt2img_samples',
  'outdir_img2img_samples', 'outdir_extras_samples', 'outdir_grids', 'outdir_txt2img_grids', 'outdir_img2img_grids',
  'outdir_save', 'outdir_init_images', 'temp_dir', 'clean_temp_dir_at_start', 'api_enable_requests',
  'api_forbid_local_requests', 'api_useragent', 'disabled_extensions', 'disable_all_extensions'
])

const forgeOptions: Readonly<Record<string, unknown>> = {
  forge_preset: 'sd',
  forge_additional_modules: [],
  forge_unet_storage_dtype: 'Automatic',
  forge_inference_memory: 1024,
  forge_async_loading: 'Queue',
  forge_pin_shared_memory: 'CPU'
}

/** Options whose defaults are floats themselves. */
const floats = new Set([
  'img_downscale_threshold', 'sdxl_refiner_high_aesthetic_score', 'inpainting_mask_weight', 'initial_noise_multiplier',
  'img2img_extra_noise', 's_min_uncond', 'token_merging_ratio', 'token_merging_ratio_img2img', 'token_merging_ratio_hr',
  'extra_networks_default_multiplier', 'extra_networks_card_text_scale', 'eta_ddim', 'eta_ancestral'
])

/** Options that extensions add, which are therefore always there. */
const addedByExtensions = /^(lora_|sd_lora$|canvas_|extra_options_|disabled_extensions$|disable_all_extensions$|control_net_)/

/** `saved` is the config file: it survives restarts, and nothing else does. */
export function createOptions (
  settings: Pick<SimulatorSettings, 'flavor' | 'family' | 'controlNet' | 'controlNetUnits'>, saved: Map<string, unknown>
): Options {
  const isForge = settings.family === 'forge'
  const defaults: Readonly<Record<string, unknown>> = {
    ...fileOptions,
    ...samplingOptions,
    ...interfaceOptions,
    ...isForge && forgeOptions,
    ...profiles[settings.flavor].options,
    ...settings.controlNet && { control_net_unit_count: settings.controlNetUnits },
    sd_model_checkpoint: null,
    sd_checkpoint_hash: ''
  }
  const added = Object.entries(defaults).filter(([key]) => addedByExtensions.test(key))
  const data = new Map<string, unknown>([...added, ...saved])
  const get = (key: string): unknown => data.has(key) ? data.get(key) : defaults[key]

  function requireKnown (key: string): void {
    if (!Object.hasOwn(defaults, key)) throw new PythonError('KeyError', `'${key}'`)
  }

  function change (key: string, value: unknown): void {
    requireKnown(key)
    if (isDeepStrictEqual(data.get(key) ?? null, value)) return
    // Forge compares modules with the default of a key that is not there
    if (isForge && key === 'forge_additional_modules' && isDeepStrictEqual(get(key), value)) return
    data.set(key, value)
  }

  return {
    all () {
      const shown = { ...defaults, ...Object.fromEntries(data) }
      // the model of the answer makes floats of all numbers that were set, unless their default is 0
      for (const [key, value] of Object.entries(defaults)) {
        const isSet = data.has(key) && typeof value === 'number' && value !== 0
        if (isSet || floats.has(key)) noteFloat(shown, key)
      }
      return shown
    },
    get,
    set (key, value) {
      requireKnown(key)
      if (!restricted.has(key)) change(key, value)
    },
    setAny: change,
    write: (key, value) => { data.set(key, value) },
    remember: keys => Object.fromEntries(keys.filter(key => data.has(key)).map(key => [key, data.get(key)])),
    save () {
      saved.clear()
      for (const [key, value] of data) saved.set(key, value)
    }
  }
}
