import type { Redis } from 'ioredis'
import { longestGeneration } from '../a1111/progress.ts'
import type { Keys } from '../lib/keys.ts'

/** The work that a generation needs, on any server. */
export interface Workload {
  /** Number of model evaluations: steps of all passes and batches, twice for samplers of second order. */
  readonly evaluations: number
  /** The same, each weighted with its megapixels. */
  readonly megapixels: number
  /** Identifies the checkpoint; empty if the loaded one will do. */
  readonly checkpoint: string
}

/** Seconds for each generation, each evaluation, each megapixel of an evaluation, and each change of checkpoint. */
type Costs = readonly [fixed: number, evaluation: number, megapixel: number, change: number]

/** The costs of generations at one server, as far as observed. */
export interface CostModel {
  /** Number of generations that it was learned from. */
  readonly samples: number
  readonly costs: Costs
  /** Cost of a step with each checkpoint, relative to the first one. */
  readonly factors: Readonly<Record<string, number>>
  /** The duration of the last few generations, relative to the predicted one. */
  readonly pace: number
  /** The checkpoint that the last generation left loaded; empty if unknown. */
  readonly loaded: string
  /** The last generations, oldest first. */
  readonly recent: readonly SeenGeneration[]
}

/** A generation, and the checkpoint loaded before it. */
interface SeenGeneration {
  readonly workload: Workload
  readonly loaded: string
  readonly seconds: number
}

/** The assumed costs before the first generation. */
const firstCosts: Costs = [0.3, 0.01, 0.25, 4]

export function newCostModel (): CostModel {
  return { samples: 0, costs: firstCosts, factors: {}, pace: 1, loaded: '', recent: [] }
}

/** The loaded checkpoint after a generation, if `loaded` was loaded before it. */
export function loadedAfter (loaded: string, { checkpoint }: Pick<Workload, 'checkpoint'>): string {
  return checkpoint === '' ? loaded : checkpoint
}

/**
 * Expected seconds of a generation; null before the first one.
 * @param workload null if unknown, as for jobs of an early version: they count as average ones
 * @param loaded the checkpoint that is loaded before it
 */
export function predictSeconds (model: CostModel, workload: Workload | null, loaded: string): number | null {
  if (model.samples === 0) return null
  const seconds = workload === null ? defaultSeconds(model) : secondsByCosts(model, { workload, loaded }) * model.pace
  return Math.min(seconds, longestGeneration)
}

/** The median duration of the last generations. */
function defaultSeconds ({ recent }: CostModel): number {
  const seconds = recent.map(one => one.seconds).sort((one, other) => one - other)
  return seconds[Math.floor(seconds.length / 2)] ?? 0
}

/** Seconds by the costs alone, above 0. */
function secondsByCosts (
  { costs, factors }: Pick<CostModel, 'costs' | 'factors'>, { workload, loaded }: Omit<SeenGeneration, 'seconds'>
): number {
  const [fixed, , , change] = costs
  const steps = stepSeconds(costs, workload)
  const factor = factors[loadedAfter(loaded, workload)] ?? 1
  return Math.max(0.01, fixed + factor * steps + (changesCheckpoint(workload, loaded) ? change : 0))
}

/** The time of all evaluations with the first checkpoint, in seconds. */
function stepSeconds ([, evaluation, megapixel]: Costs, { evaluations, megapixels }: Workload): number {
  return evaluation * evaluations + megapixel * megapixels
}

/** Whether the server must load a checkpoint first. A server that just started has an unknown one loaded. */
function changesCheckpoint ({ checkpoint }: Workload, loaded: string): boolean {
  return checkpoint !== '' && loaded !== '' && checkpoint !== loaded
}

/** Generations that the costs are fitted to, and the number of newer ones after which one counts half. */
const most = 48
const halfLife = 20
/** Share by which equal generations differ, and the constant difference, in seconds. */
const noise = { share: 0.08, seconds: 0.02 }
/** Values beyond this many standard deviations count less, such as while another client uses the server. */
const believable = 2
/** This many in a row that all took this much longer, or shorter, are no accident: the server has changed. */
const newTimes = { row: 4, ratio: 1.5 }
/** How far off an estimate can be, relative to it: a previously fitted cost, and a factor. */
const doubt = { cost: 1, factor: 0.7 }
/** Rounds of fitting costs, factors and the weights of outliers, and rounds of fitting the costs alone. */
const rounds = 6
const sweeps = 30
/** Checkpoints that are distinguished; people have about a hundred. */
const maxCheckpoints = 200
/**
 * Generations that show whether all take longer or shorter than learned, and the deviation that is too small to matter.
 */
const paceSamples = 5
const negligible = 0.15

/** A generation that is over, and its duration in seconds. */
export type Observed = Pick<SeenGeneration, 'workload' | 'seconds'>

/**
 * The model after more generations, in their order: the costs that best fit the last ones, with more weight on newer
 * and likelier ones. Costs without evidence stay near their earlier values. Errors count relative to a generation's
 * duration.
 */
export function learnFrom (model: CostModel, observed: readonly Observed[]): CostModel {
  let { loaded } = model
  const news = observed.filter(({ seconds }) => seconds > 0).map(({ workload, seconds }) => {
    const before = loaded
    loaded = loadedAfter(loaded, workload)
    return { workload, loaded: before, seconds }
  })
  if (news.length === 0) return model
  const all = [...model.recent, ...news].slice(-most)
  const last = all.slice(-newTimes.row)
  const recent = isNewTime(model, last) ? last : all
  const { costs, factors } = fit(recent, model)
  return {
    samples: model.samples + news.length,
    costs,
    factors: withoutOldest(factors),
    pace: paceOf(recent.slice(-paceSamples), { costs, factors }),
    loaded,
    recent
  }
}

type Beliefs = Pick<CostModel, 'costs' | 'factors'>

/** Costs and factors depend on each other, so each is fitted in turn while the other is fixed. */
function fit (seen: readonly SeenGeneration[], before: Beliefs): Beliefs {
  let beliefs: Beliefs = { costs: before.costs, factors: factorsFor(seen, before.factors) }
  for (let round = 0; round < rounds; round++) {
    const weights = seen.map((one, index) => weightOf(one, seen.length - 1 - index, secondsByCosts(beliefs, one)))
    const costs = fitCosts(seen, weights, beliefs, before.costs)
    beliefs = { costs, factors: fitFactors(seen, weights, { ...beliefs, costs }, before.factors) }
  }
  return beliefs
}

/** @param age number of generations since then */
function weightOf ({ workload, loaded, seconds }: SeenGeneration, age: number, expected: number): number {
  const usual = noise.share * seconds + noise.seconds
  const oddity = Math.abs(seconds - expected) / usual
  // If the loaded checkpoint is unknown, the time can include loading.
  const clear = workload.checkpoint !== '' && loaded === '' ? 0.05 : 1
  return clear * 0.5 ** (age / halfLife) * Math.min(1, believable / oddity) / usual ** 2
}

const costTerms = 4
const at = (values: Float64Array, index: number) => values[index] ?? 0

/**
 * Least squares without negative costs: one cost after the other until they settle. Its loops make no lists on their
 * way: those were 40 % of all that a job at an instant server allocated.
 */
function fitCosts (
  seen: readonly SeenGeneration[], weights: readonly number[], { costs: begin, factors }: Beliefs, believed: Costs
): Costs {
  // Without evidence each cost keeps its earlier value; larger deviations are less likely.
  const pull = new Float64Array(costTerms)
  const ties = new Float64Array(costTerms * costTerms)
  for (const [term, cost] of believed.entries()) {
    const trust = 1 / (doubt.cost * Math.max(cost, (firstCosts[term] ?? 0) / 4)) ** 2
    pull[term] = cost * trust
    ties[term * costTerms + term] = trust
  }
  const terms = new Float64Array(costTerms)
  for (let index = 0; index < seen.length; index++) {
    const one = seen[index]
    if (one === undefined) continue
    readTerms(terms, one, factors)
    const weight = weights[index] ?? 0
    for (let row = 0; row < costTerms; row++) {
      const value = at(terms, row)
      pull[row] = at(pull, row) + weight * value * one.seconds
      for (let column = 0; column < costTerms; column++) {
        const tie = row * costTerms + column
        ties[tie] = at(ties, tie) + weight * value * at(terms, column)
      }
    }
  }
  const costs = Float64Array.from(begin)
  for (let sweep = 0; sweep < sweeps; sweep++) {
    for (let row = 0; row < costTerms; row++) {
      const own = at(ties, row * costTerms + row)
      let others = 0
      for (let column = 0; column < costTerms; column++) {
        others += at(ties, row * costTerms + column) * at(costs, column)
      }
      others -= own * at(costs, row)
      costs[row] = Math.max(0, (at(pull, row) - others) / own)
    }
  }
  return [...costs] as unknown as Costs
}

/** What a generation has of each cost. */
function readTerms (terms: Float64Array, { workload, loaded }: SeenGeneration, factors: CostModel['factors']): void {
  const factor = factors[loadedAfter(loaded, workload)] ?? 1
  terms[0] = 1
  terms[1] = workload.evaluations * factor
  terms[2] = workload.megapixels * factor
  terms[3] = changesCheckpoint(workload, loaded) ? 1 : 0
}

/** The first checkpoint is the reference for the others. */
function fitFactors (
  seen: readonly SeenGeneration[], weights: readonly number[], { costs, factors }: Beliefs,
  believed: CostModel['factors']
): CostModel['factors'] {
  const [fixed, , , change] = costs
  const [usual] = Object.keys(factors)
  return Object.fromEntries(Object.keys(factors).map(checkpoint => {
    if (checkpoint === usual) return [checkpoint, 1]
    const belief = believed[checkpoint] ?? 1
    let weight = 1 / (doubt.factor * belief) ** 2
    let pull = belief * weight
    for (const [index, { workload, loaded, seconds }] of seen.entries()) {
      if (loadedAfter(loaded, workload) !== checkpoint) continue
      const steps = stepSeconds(costs, workload)
      const drawing = seconds - fixed - (changesCheckpoint(workload, loaded) ? change : 0)
      pull += (weights[index] ?? 0) * steps * drawing
      weight += (weights[index] ?? 0) * steps ** 2
    }
    return [checkpoint, Math.min(50, Math.max(0.02, pull / weight))]
  }))
}

function factorsFor (seen: readonly SeenGeneration[], known: CostModel['factors']): CostModel['factors'] {
  const used = seen.map(({ workload, loaded }) => loadedAfter(loaded, workload)).filter(name => name !== '')
  return { ...known, ...Object.fromEntries(used.map(name => [name, known[name] ?? 1])) }
}

function isNewTime (beliefs: CostModel, last: readonly SeenGeneration[]): boolean {
  if (beliefs.samples < newTimes.row || last.length < newTimes.row) return false
  const ratios = last.map(one => one.seconds / secondsByCosts(beliefs, one))
  return ratios.every(ratio => ratio > newTimes.ratio) || ratios.every(ratio => ratio < 1 / newTimes.ratio)
}

/**
 * The last few durations compared with the costs: the first generations of a server are slow, and so are all while a
 * game uses its graphics card. The costs themselves follow more slowly.
 */
function paceOf (last: readonly SeenGeneration[], beliefs: Beliefs): number {
  const paces = last.map(one => one.seconds / secondsByCosts(beliefs, one)).sort((one, other) => one - other)
  const pace = paces[Math.floor((paces.length - 1) / 2)] ?? 1
  return Math.abs(Math.log(pace)) < negligible ? 1 : pace
}

/** Always keeps the first one, the reference for the others. */
function withoutOldest (factors: CostModel['factors']): CostModel['factors'] {
  const [usual, ...others] = Object.entries(factors)
  return usual === undefined ? factors : Object.fromEntries([usual, ...others.slice(1 - maxCheckpoints)])
}

/** The costs of generations at each server, readable by every process. */
export interface CostStore {
  read (serverId: string): Promise<CostModel>
  readMany (serverIds: readonly string[]): Promise<CostModel[]>
  /** The process that serves the server calls this. */
  write (serverId: string, model: CostModel): Promise<void>
  forget (serverId: string): Promise<void>
}

export function createCostStore (redis: Redis, keys: Keys): CostStore {
  const costKey = (serverId: string) => keys.key('server', serverId, 'costs')

  async function read (serverId: string): Promise<CostModel> {
    return parseCosts(await redis.get(costKey(serverId)))
  }

  return {
    read,
    async readMany (serverIds) {
      return serverIds.length === 0 ? [] : (await redis.mget(...serverIds.map(costKey))).map(parseCosts)
    },
    async write (serverId, model) {
      await redis.set(costKey(serverId), JSON.stringify(model))
    },
    async forget (serverId) {
      await redis.del(costKey(serverId))
    }
  }
}

/** The model of a record; a new one if there is none. */
export function parseCosts (text: string | null): CostModel {
  return text === null || text === '' ? newCostModel() : { ...newCostModel(), ...JSON.parse(text) as CostModel }
}
