import { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { extrasPayload } from './extras.ts'
import { isRecord } from './field-values.ts'
import { rulesOf } from './kinds/registry.ts'
import type { GenerationMode, ServerTraits } from './types.ts'

export interface PayloadParts {
  readonly mode: GenerationMode
  /** As checked for this server, images as base64. */
  readonly parameters: Readonly<Record<string, unknown>>
  /** The server's own exact title; null sends none, so the server uses its selected one. */
  readonly checkpointTitle: string | null
  /** Our job id; `/internal/progress` and A1111's queue know the generation by it. */
  readonly taskId: string
  /** Null while the server is unknown: it then counts as an A1111. */
  readonly traits: Pick<ServerTraits, 'kind' | 'simulates'> | null
}

/** The object to POST to `/sdapi/v1/<mode>`: nothing in it that the server does not know. */
export function buildPayload (parts: PayloadParts): Record<string, unknown> {
  const parameters = parts.parameters as A1111Parameters
  if (parts.mode === 'extras') return extrasPayload(parameters)
  const { requestFields, overrideSettings } = rulesOf(parts.traits)
  const fields = requestFields(parts.mode, parameters)
  if (overrideSettings === null) return fields
  return {
    ...fields,
    ...overrides(overrideSettings(parameters.override_settings ?? {}), parts.checkpointTitle),
    force_task_id: parts.taskId,
    send_images: true,
    // the server's own copies would fill its disk, and switching them on puts a grid before the images
    save_images: false
  }
}

/**
 * The checkpoint is sent with the request, never through `/options`, which would change it during a running job. The
 * restoring rule here applies if the server's options are unknown; otherwise the options keeper decides.
 */
function overrides (own: Readonly<Record<string, unknown>>, title: string | null) {
  const all = title === null ? own : { ...own, sd_model_checkpoint: title }
  if (Object.keys(all).length === 0) return {}
  return { override_settings: all, override_settings_restore_afterwards: Object.keys(own).length > 0 }
}

/** Settings that a script of A1111 sets for each of its own generations, whatever the request says. */
const scriptSettings = [
  'CLIP_stop_at_last_layers', 'sd_vae', 'randn_source', 'token_merging_ratio', 'token_merging_ratio_hr',
  'always_discard_next_to_last_sigma', 'sgm_noise_multiplier', 'sigma_min', 'sigma_max', 'rho', 'beta_dist_alpha',
  'beta_dist_beta', 'img2img_extra_noise', 'uni_pc_order', 'fp8_storage', 's_churn', 's_tmin', 's_tmax', 's_noise'
]
const detailerSettings = ['CLIP_stop_at_last_layers', 'sd_vae']

/** Settings that the scripts of a job can override at the server by themselves. */
export function settingsOfScripts (parameters: A1111Parameters): readonly string[] {
  const { script_name: script, alwayson_scripts: always } = parameters
  if (script !== undefined) return scriptSettings
  return Object.keys(always ?? {}).some(title => title.toLowerCase() === 'adetailer') ? detailerSettings : []
}

/** Whether a job uses other checkpoints beside its own, which the server selects meanwhile. */
export function switchesCheckpoints (parameters: A1111Parameters): boolean {
  const { enable_hr: hires, hr_checkpoint_name: second, hr_additional_modules: modules } = parameters
  return parameters.refiner_checkpoint !== undefined || settingsOfScripts(parameters).length > 0 ||
    (hires === true && (second !== undefined || modules !== undefined))
}

/** Longest name or value that is returned, and all of them together, in characters of JSON. */
const longestField = 1000
const longestEcho = 8192

/** A1111's own names, and those under which views show the prompt and the checkpoint that was found. */
const ours: ReadonlySet<string> = new Set([...Object.keys(A1111Parameters.properties), 'positive_prompt', 'checkpoint_name'])

/**
 * Values that clients sent under names that are not A1111's, such as `num_images`, `style_preset` or an identifier of
 * their own: they look for them in the job again. Long values, such as images, are omitted.
 */
export function clientEcho (given: unknown): Record<string, unknown> {
  if (!isRecord(given)) return {}
  const echo: Record<string, unknown> = {}
  let left = longestEcho
  for (const name of Object.keys(given)) {
    const value = given[name]
    if (ours.has(name) || (typeof value === 'string' && value.length > longestField)) continue
    const characters = name.length + stringifyJson(value ?? null).length
    if (characters > longestField || characters > left) continue
    left -= characters
    echo[name] = value
  }
  return echo
}
