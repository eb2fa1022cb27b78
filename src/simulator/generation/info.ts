import { noteFloat } from '../../lib/exact-json.ts'
import type { UsedCheckpoint } from './infotext.ts'
import type { Plan } from './plan.ts'

/** The object whose JSON text is the answer's `info`; it lists all seeds that were planned, even when interrupted. */
export function describeGeneration (
  plan: Plan, checkpoint: UsedCheckpoint,
  outcome: {
    readonly infotexts: readonly string[]
    readonly firstImage: number
    readonly jobTimestamp: string
    readonly clipSkip: number
    readonly version: string | null
    /** The model that restored faces; null where none did. */
    readonly faceModel: unknown
  }
): Record<string, unknown> {
  const info: Record<string, unknown> = {
    prompt: plan.prompts[0],
    all_prompts: plan.prompts,
    negative_prompt: plan.negativePrompts[0],
    all_negative_prompts: plan.negativePrompts,
    seed: plan.seeds[0],
    all_seeds: plan.seeds,
    subseed: plan.subseeds[0],
    all_subseeds: plan.subseeds,
    subseed_strength: plan.subseedStrength,
    width: plan.width,
    height: plan.height,
    sampler_name: plan.sampler.name,
    cfg_scale: plan.cfgScale,
    steps: plan.steps,
    batch_size: plan.batchSize,
    restore_faces: outcome.faceModel !== null,
    face_restoration_model: outcome.faceModel,
    sd_model_name: checkpoint.name,
    sd_model_hash: checkpoint.hash,
    sd_vae_name: null,
    sd_vae_hash: null,
    seed_resize_from_w: -1,
    seed_resize_from_h: -1,
    denoising_strength: plan.denoisingStrength,
    extra_generation_params: plan.extraParameters,
    index_of_first_image: outcome.firstImage,
    infotexts: outcome.infotexts,
    styles: plan.styles,
    job_timestamp: outcome.jobTimestamp,
    clip_skip: outcome.clipSkip,
    is_using_inpainting_conditioning: false,
    ...outcome.version === null ? {} : { version: outcome.version }
  }
  for (const name of ['cfg_scale', 'denoising_strength']) noteFloat(info, name)
  return info
}
