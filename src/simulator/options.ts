import { PythonError } from './failures.ts'
import { fileOptions } from './lists/options-files.ts'
import { interfaceOptions } from './lists/options-interface.ts'
import { samplingOptions } from './lists/options-sampling.ts'
import type { SimulatorSettings } from './settings.ts'

/**
 * A1111's options. Only those that were ever written are in its config file, and only those are put back after
 * an override: the others leak into later jobs.
 */
export interface Options {
  all (): Record<string, unknown>
  get (key: string): unknown
  /**
   * As the API sets one.
   *
   * @throws PythonError for a key that does not exist
   */
  set (key: string, value: unknown): void
  /** Sets without a check, as A1111 does for what it knows itself. */
  write (key: string, value: unknown): void
  /** What must be written back after an override of these keys. */
  remember (keys: readonly string[]): Record<string, unknown>
}

/** Options that the API may not set; it answers 200 and leaves them as they are. */
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

/** `saved` is the config file: it is added to, and survives restarts. */
export function createOptions (
  settings: Pick<SimulatorSettings, 'flavor' | 'controlNet' | 'controlNetUnits'>, saved: Map<string, unknown>
): Options {
  const defaults: Readonly<Record<string, unknown>> = {
    ...fileOptions,
    ...samplingOptions,
    ...interfaceOptions,
    ...settings.flavor === 'forge' && forgeOptions,
    ...settings.controlNet && { control_net_unit_count: settings.controlNetUnits },
    sd_model_checkpoint: null,
    sd_checkpoint_hash: ''
  }
  const get = (key: string): unknown => saved.has(key) ? saved.get(key) : defaults[key]

  return {
    all: () => ({ ...defaults, ...Object.fromEntries(saved) }),
    get,
    set (key, value) {
      if (!Object.hasOwn(defaults, key)) throw new PythonError('KeyError', `'${key}'`)
      if (!restricted.has(key)) saved.set(key, value)
    },
    write: (key, value) => { saved.set(key, value) },
    remember: keys => Object.fromEntries(keys.filter(key => saved.has(key)).map(key => [key, saved.get(key)]))
  }
}
