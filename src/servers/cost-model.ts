/** How much a generation asks of a server, whichever it is. */
export interface Workload {
  /** How often the model is asked: steps of all passes and batches, twice for samplers of second order. */
  readonly evaluations: number
  /** The same, each weighed with the megapixels that it draws. */
  readonly megapixels: number
  /** Stands for the checkpoint; empty where whichever is loaded will do. */
  readonly checkpoint: string
}

/** Seconds: what every generation takes, an evaluation, a megapixel of an evaluation, a change of checkpoint. */
export type Costs = readonly [fixed: number, evaluation: number, megapixel: number, change: number]

/** What generations cost at one server, as far as was seen. */
export interface CostModel {
  /** Generations that it was learned from. */
  readonly samples: number
  readonly costs: Costs
  /** How much dearer than the first one a step with a checkpoint is. */
  readonly factors: Readonly<Record<string, number>>
  /** What the last few generations took, as a share of what the costs say. */
  readonly pace: number
  /** What the last generation left loaded; empty where that is not known. */
  readonly loaded: string
  /** The last ones, oldest first. */
  readonly recent: readonly SeenGeneration[]
}

/** A generation, and what was loaded before it. */
export interface SeenGeneration {
  readonly workload: Workload
  readonly loaded: string
  readonly seconds: number
}

/** What is believed before anything was seen. */
export const firstCosts: Costs = [0.3, 0.01, 0.25, 4]

export function newCostModel (): CostModel {
  return { samples: 0, costs: firstCosts, factors: {}, pace: 1, loaded: '', recent: [] }
}

/** What a checkpoint leaves loaded after `loaded`. */
export function loadedAfter (loaded: string, { checkpoint }: Pick<Workload, 'checkpoint'>): string {
  return checkpoint === '' ? loaded : checkpoint
}

/** No generation may take longer, whatever was asked: the largest JOB_TIMEOUT_SECONDS. */
const longestGeneration = 86_400

/**
 * Seconds that a generation is expected to take; null before anything was seen.
 * @param workload null where it is not known, as of jobs of an early version: they are taken for ordinary ones
 * @param loaded what is loaded before it
 */
export function predictSeconds (model: CostModel, workload: Workload | null, loaded: string): number | null {
  if (model.samples === 0) return null
  const seconds = workload === null ? usualSeconds(model) : secondsByCosts(model, { workload, loaded }) * model.pace
  return Math.min(seconds, longestGeneration)
}

/** The middle one of the last generations. */
function usualSeconds ({ recent }: CostModel): number {
  const seconds = recent.map(one => one.seconds).sort((one, other) => one - other)
  return seconds[Math.floor(seconds.length / 2)] ?? 0
}

/** Seconds by the costs alone, above 0. */
export function secondsByCosts (
  { costs, factors }: Pick<CostModel, 'costs' | 'factors'>, { workload, loaded }: Omit<SeenGeneration, 'seconds'>
): number {
  const [fixed, , , change] = costs
  const steps = stepSeconds(costs, workload)
  const factor = factors[loadedAfter(loaded, workload)] ?? 1
  return Math.max(0.01, fixed + factor * steps + (changesCheckpoint(workload, loaded) ? change : 0))
}

/** What all evaluations take together with the first checkpoint, in seconds. */
export function stepSeconds ([, evaluation, megapixel]: Costs, { evaluations, megapixels }: Workload): number {
  return evaluation * evaluations + megapixel * megapixels
}

/** Whether a checkpoint has to be loaded first. A server that just started has one loaded, nobody knows which. */
export function changesCheckpoint ({ checkpoint }: Workload, loaded: string): boolean {
  return checkpoint !== '' && loaded !== '' && checkpoint !== loaded
}
