import { createHash } from 'node:crypto'
import { splitHash } from '../a1111/names.ts'
import type { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { type CostModel, type CostStore, newCostModel, predictSeconds, type Workload } from '../servers/cost-model.ts'
import type { JobSubmission } from './job.ts'

/** Samplers that ask the model twice a step, by their names without what follows. */
const secondOrder = /^(heun|dpm2|dpm\+\+ (2s|sde|2m sde heun|3m sde heun)|restart|k_(heun|dpm_2|dpmpp_2s|dpmpp_sde))/i
/** A1111's default values. */
const usual = { steps: 50, side: 512, denoising: 0.75 }

/** The work that a submission needs, on any server. */
export function workloadOf (
  { mode, parameters, checkpoint, checkpointTitle }:
  Pick<JobSubmission, 'mode' | 'parameters' | 'checkpoint' | 'checkpointTitle'>
): Workload {
  const width = positive(parameters.width, usual.side)
  const height = positive(parameters.height, usual.side)
  const steps = positive(parameters.steps, usual.steps)
  const batches = positive(parameters.n_iter, 1) * (secondOrder.test(String(parameters.sampler_name ?? '')) ? 2 : 1)
  const batch = positive(parameters.batch_size, 1)
  const firstSteps = mode === 'img2img' ? partOf(steps, parameters.denoising_strength) : steps
  const first = { steps: firstSteps, megapixels: width * height / 1e6 }
  const passes = mode === 'txt2img' && parameters.enable_hr === true ? [first, secondPass(parameters, first)] : [first]
  const evaluations = passes.reduce((sum, pass) => sum + pass.steps, 0) * batches
  const megapixels = passes.reduce((sum, pass) => sum + pass.steps * pass.megapixels, 0) * batches * batch
  return { evaluations, megapixels, checkpoint: shortCheckpoint(checkpointTitle ?? checkpoint) }
}

/** Hires fix generates again over the enlarged image. */
function secondPass (
  parameters: A1111Parameters, first: { readonly steps: number, readonly megapixels: number }
): { steps: number, megapixels: number } {
  const { hr_resize_x: width, hr_resize_y: height, hr_scale: scale, hr_second_pass_steps: asked } = parameters
  const steps = partOf(positive(asked, first.steps), parameters.denoising_strength)
  const hasSize = positive(width, 0) > 0 && positive(height, 0) > 0
  const megapixels = hasSize
    ? positive(width, 0) * positive(height, 0) / 1e6
    : first.megapixels * positive(scale, 2) ** 2
  return { steps, megapixels }
}

/** A generation that begins with an image skips its first steps. */
function partOf (steps: number, strength: unknown): number {
  const share = typeof strength === 'number' ? Math.min(strength, 0.999) : usual.denoising
  return Math.max(1, Math.floor(steps * share))
}

function positive (value: unknown, otherwise: number): number {
  return typeof value === 'number' && value > 0 ? value : otherwise
}

/**
 * Eight letters that identify a checkpoint. They ignore the hash of its title, which a server shows only once it has
 * loaded the checkpoint.
 */
export function shortCheckpoint (title: string | null): string {
  const name = splitHash(title ?? '').name.toLowerCase()
  return name === '' ? '' : shortDigest(name, 8)
}

/** Most submissions repeat the checkpoint and the needs of one before. */
const digests = new Map<string, string>()
const keptDigests = 1000

/** The first hexadecimal digits of the SHA-256 of a text. */
export function shortDigest (text: string, digits: number): string {
  const known = digests.get(text)
  if (known !== undefined) return known.slice(0, digits)
  const digest = createHash('sha256').update(text).digest('hex')
  if (digests.size >= keptDigests) digests.clear()
  digests.set(text, digest)
  return digest.slice(0, digits)
}

/** The workload in the form of a job's record. */
export function packWorkload ({ evaluations, megapixels, checkpoint }: Workload): string {
  return `${evaluations}:${Math.round(megapixels * 1000) / 1000}:${checkpoint}`
}

/** Null for text that is not of that form, such as from a record of an earlier version. */
export function unpackWorkload (text: string | null | undefined): Workload | null {
  const [evaluations, megapixels, checkpoint] = (text ?? '').split(':')
  if (evaluations === undefined || megapixels === undefined || checkpoint === undefined) return null
  return { evaluations: Number(evaluations), megapixels: Number(megapixels), checkpoint }
}

/** Predicts the work of a job before it has a server, for the shares of access keys and the pool. */
export interface WorkPrediction {
  /** Milliseconds of a generation at an ordinary server of the fleet, at least 1. */
  milliseconds (workload: Workload): Promise<number>
}

/** How long the costs of the servers are used before they are read again, in milliseconds. */
const costsFor = 5000

/** @param servers ids of the current servers */
export function createWorkPrediction (
  costs: Pick<CostStore, 'readMany'>, servers: () => readonly string[]
): WorkPrediction {
  let models: readonly CostModel[] = []
  let readAt = -Infinity

  return {
    async milliseconds (workload) {
      if (performance.now() - readAt > costsFor) {
        readAt = performance.now()
        models = (await costs.readMany(servers())).filter(({ samples }) => samples > 0)
      }
      const known = models.length > 0 ? models : [{ ...newCostModel(), samples: 1 }]
      const seconds = known.map(model => predictSeconds(model, workload, workload.checkpoint) ?? 0)
      return Math.max(1, Math.round(seconds.reduce((sum, one) => sum + one, 0) / seconds.length * 1000))
    }
  }
}
