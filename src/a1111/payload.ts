import type { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { extrasPayload } from './extras.ts'
import { rulesOf } from './kinds/registry.ts'
import type { GenerationMode, ServerTraits } from './types.ts'

export interface PayloadParts {
  readonly mode: GenerationMode
  /** As admitted for this server, images as base64. */
  readonly parameters: Readonly<Record<string, unknown>>
  /** The server's own exact title; null sends none, so the server takes what it has selected. */
  readonly checkpointTitle: string | null
  /** Our job id; `/internal/progress` and A1111's queue know the generation by it. */
  readonly taskId: string
  /** Null while nothing is known of the server: it is then taken for an A1111. */
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
 * The checkpoint goes with the request, never through `/options`, which would change it under a running job.
 * It stays selected afterwards: restoring would only change the selection back, not the loaded model, so that
 * somebody else's next request without a checkpoint had to load another one. Any other setting must not outlive
 * the job (clip skip 2 would spoil the next job's pictures), so with one the server is told to restore; our next
 * job names its checkpoint anyway.
 */
function overrides (own: Readonly<Record<string, unknown>>, title: string | null) {
  const all = title === null ? own : { ...own, sd_model_checkpoint: title }
  if (Object.keys(all).length === 0) return {}
  return { override_settings: all, override_settings_restore_afterwards: Object.keys(own).length > 0 }
}
