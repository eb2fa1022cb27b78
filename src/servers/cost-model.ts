/** How much a generation asks of a server, whichever it is. */
export interface Workload {
  /** How often the model is asked: steps of all passes and batches, twice for samplers of second order. */
  readonly evaluations: number
  /** The same, each weighed with the megapixels that it draws. */
  readonly megapixels: number
  /** Stands for the checkpoint; empty where whichever is loaded will do. */
  readonly checkpoint: string
}

/** How much dearer than usual a step with a checkpoint is. */
export interface CheckpointCost {
  readonly factor: number
  /** Of the factor's logarithm. */
  readonly variance: number
  readonly samples: number
}

/** What generations cost at one server, as far as was seen. Times are seconds. */
export interface CostModel {
  /** Generations that it was learned from. */
  readonly samples: number
  /** Seconds for each of `terms`. */
  readonly costs: readonly number[]
  /** How uncertain the costs are, and how they hang together: the rows of a symmetric matrix. */
  readonly doubt: ReadonlyArray<readonly number[]>
  readonly checkpoints: Readonly<Record<string, CheckpointCost>>
  /** What the last generation left loaded; empty where that is not known. */
  readonly loaded: string
  /** Generations in a row that took far longer (above 0) or far shorter (below 0) than expected. */
  readonly surprises: number
  /** The last ones, oldest first. */
  readonly recent: readonly SeenGeneration[]
}

/** A generation, and what was loaded before it. */
export interface SeenGeneration {
  readonly workload: Workload
  readonly loaded: string
  readonly seconds: number
}

/** What is believed before anything was seen, and how little it is to be trusted: costs and their variance. */
const terms = [
  { name: 'fixed part', cost: 0.5, variance: 1 },
  { name: 'an evaluation', cost: 0.02, variance: 0.05 ** 2 },
  { name: 'a megapixel of an evaluation', cost: 0.25, variance: 0.5 ** 2 },
  { name: 'a change of checkpoint', cost: 4, variance: 6 ** 2 }
] as const

/** Of the logarithm of a factor that was not seen yet: an SDXL checkpoint may take thrice the time of SD 1.5. */
const checkpointVariance = 0.7 ** 2
/** Share by which equal generations differ, and what differs whatever they take, in seconds. */
const noise = { share: 0.06, seconds: 0.02 }
/** Share of the first doubt that comes back with each generation, so that what was learned long ago may change. */
const forgetting = 0.0005
/** What lies further off than so many standard deviations counts little: a server that somebody else uses, say. */
const believable = 3
/** So many of those in a row are no accident any more. */
const newTimes = 4
/** Checkpoints that are told apart; a hundred or so is what people have. */
const mostCheckpoints = 200
/** Generations that say whether all take longer than was learned, or less long, and what is too little to matter. */
const recentSamples = 5
const negligible = 0.15

export function newCostModel (): CostModel {
  return {
    samples: 0,
    costs: terms.map(({ cost }) => cost),
    doubt: firstDoubt(),
    checkpoints: {},
    loaded: '',
    surprises: 0,
    recent: []
  }
}

/** What a checkpoint leaves loaded after `loaded`. */
export function loadedAfter (loaded: string, { checkpoint }: Pick<Workload, 'checkpoint'>): string {
  return checkpoint === '' ? loaded : checkpoint
}

/**
 * Seconds that a generation is expected to take; null before anything was seen.
 * @param loaded what is loaded before it
 */
export function predictSeconds (model: CostModel, workload: Workload, loaded: string): number | null {
  return model.samples === 0 ? null : expected(model, termsOf(model, workload, loaded)) * recentPace(model)
}

/**
 * The model with one more generation seen. It is a Kalman filter of the costs and of how much dearer each checkpoint
 * is, so that what is least known moves most; outliers have little weight.
 * @param seconds what it took
 */
export function learnFrom (model: CostModel, workload: Workload, seconds: number): CostModel {
  if (!(seconds > 0)) return model
  const { checkpoint } = workload
  const x = termsOf(model, workload, model.loaded)
  const surprise = seconds - expected(model, x)
  const usual = (noise.share * seconds) ** 2 + noise.seconds ** 2
  const known = model.checkpoints[checkpoint] ?? newCheckpoint(model, checkpoint)
  // A factor enters by its logarithm, so that what the steps take is what they change with it.
  const steps = stepSeconds(model, x)
  const carried = multiply(model.doubt, x)
  const uncertain = dot(carried, x) + steps ** 2 * known.variance
  const oddity = Math.abs(surprise) / Math.sqrt(uncertain + usual) / believable
  const surprises = oddity <= 1 ? 0 : nextSurprises(model.surprises, surprise)
  if (Math.abs(surprises) >= newTimes) {
    // The server is not what it was: what was learned is a first guess again.
    return learnFrom({ ...model, doubt: wider(model), surprises: 0 }, workload, seconds)
  }
  const trust = 1 / (uncertain + usual * Math.max(1, oddity) ** 2)
  const factor = {
    factor: clamp(known.factor * Math.exp(clamp(steps * known.variance * trust * surprise, -1, 1)), 0.02, 50),
    variance: known.variance * (1 - steps ** 2 * known.variance * trust) + (known.variance > 0 ? forgetting : 0),
    samples: known.samples + 1
  }
  return {
    samples: model.samples + 1,
    costs: model.costs.map((cost, index) => Math.max(0, cost + (carried[index] ?? 0) * trust * surprise)),
    doubt: model.doubt.map((row, line) => row.map((value, column) =>
      value - (carried[line] ?? 0) * (carried[column] ?? 0) * trust +
      (line === column ? (terms[line]?.variance ?? 0) * forgetting : 0))),
    checkpoints: checkpoint === '' ? model.checkpoints : withoutRarest({ ...model.checkpoints, [checkpoint]: factor }),
    loaded: loadedAfter(model.loaded, workload),
    surprises,
    recent: [...model.recent, { workload, loaded: model.loaded, seconds }].slice(-recentSamples)
  }
}

/**
 * How the last few compare with what the costs say now: the first generations of a server are slow, and so are all
 * while somebody plays on its graphics card, which the costs themselves take longer to follow.
 */
function recentPace (model: CostModel): number {
  const paces = model.recent.map(({ workload, loaded, seconds }) =>
    seconds / expected(model, termsOf(model, workload, loaded))).sort((one, other) => one - other)
  const pace = paces[Math.floor((paces.length - 1) / 2)] ?? 1
  return Math.abs(Math.log(pace)) < negligible ? 1 : pace
}

/** The first checkpoint is what is usual, and others are held against it. */
function newCheckpoint ({ checkpoints }: CostModel, checkpoint: string): CheckpointCost {
  const isUsual = checkpoint === '' || Object.keys(checkpoints).length === 0
  return { factor: 1, variance: isUsual ? 0 : checkpointVariance, samples: 0 }
}

/** How much of each term a generation has. */
function termsOf (model: CostModel, workload: Workload, loaded: string): readonly number[] {
  const { evaluations, megapixels, checkpoint } = workload
  const factor = model.checkpoints[checkpoint]?.factor ?? 1
  const changes = checkpoint !== '' && loaded !== '' && checkpoint !== loaded
  return [1, evaluations * factor, megapixels * factor, changes ? 1 : 0]
}

function expected (model: CostModel, x: readonly number[]): number {
  return Math.max(0.01, dot(model.costs, x))
}

function stepSeconds ({ costs }: CostModel, [, evaluations = 0, megapixels = 0]: readonly number[]): number {
  return (costs[1] ?? 0) * evaluations + (costs[2] ?? 0) * megapixels
}

/** Leaves out the checkpoint that was used least where there are too many. */
function withoutRarest (checkpoints: CostModel['checkpoints']): CostModel['checkpoints'] {
  const entries = Object.entries(checkpoints)
  if (entries.length <= mostCheckpoints) return checkpoints
  const [rarest] = entries.toSorted(([, one], [, other]) => one.samples - other.samples)
  return Object.fromEntries(entries.filter(entry => entry !== rarest))
}

function nextSurprises (before: number, surprise: number): number {
  const direction = Math.sign(surprise)
  return Math.sign(before) === direction ? before + direction : direction
}

function firstDoubt (): number[][] {
  return terms.map(({ variance }, line) => terms.map((_, column) => line === column ? variance : 0))
}

function wider ({ costs }: CostModel): number[][] {
  return firstDoubt().map((row, line) => row.map(value => value === 0 ? 0 : Math.max(value, (costs[line] ?? 0) ** 2)))
}

function dot (one: readonly number[], other: readonly number[]): number {
  return one.reduce((sum, value, index) => sum + value * (other[index] ?? 0), 0)
}

function multiply (matrix: CostModel['doubt'], vector: readonly number[]): number[] {
  return matrix.map(row => dot(row, vector))
}

function clamp (value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value))
}
