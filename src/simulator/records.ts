import type { Seed } from '../lib/seeds.ts'

/** The record of one generation, for tests and watchers of the simulator. */
export interface GenerationRecord {
  readonly taskId: string | null
  readonly mode: 'txt2img' | 'img2img' | 'human'
  readonly prompt: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  finishedAt: number | null
  interrupted: boolean
  /** Name of the file that was used. */
  checkpoint: string
  seed: Seed | null
  /** The `override_settings` that came with it. */
  readonly overrides: Readonly<Record<string, unknown>> | null
  /** Infotext entries of its options, by A1111's labels. */
  marks: Readonly<Record<string, unknown>>
  imageCount: number
  /** `lost`: the process died under it. */
  outcome: 'running' | 'done' | 'failed' | 'lost'
}

/** Everything that the simulator has seen since it started or was reset; survives simulated crashes. */
export interface Records {
  /** Adds a generation that begins now. */
  begin (record: Pick<GenerationRecord, 'taskId' | 'mode' | 'prompt' | 'checkpoint' | 'seed' | 'overrides'>): GenerationRecord
  countRequest (route: string): void
  /** A generation request came in, whatever becomes of it. */
  countSend (taskId: string | null): void
  countInterrupt (): void
  countCheckpointLoad (): void
  /** The process died, and everything in it. */
  countCrash (): void
  countConnect (): void
  /** A request came while one could end the process. */
  countStartDeath (): void
  /** Work came before scripts had their arguments. */
  countEarlyWork (): void
  /** A generation request arrived; the returned function says that its generation finished. */
  enter (taskId: string | null): () => void
  reset (): void
  snapshot (): SimulatorState
}

export interface SimulatorState {
  readonly generations: readonly Readonly<GenerationRecord>[]
  readonly interrupts: number
  /** Number of requests for each route, such as `POST /sdapi/v1/txt2img`. */
  readonly requests: Readonly<Record<string, number>>
  /** Number of generation requests for each task that named itself. */
  readonly sends: Readonly<Record<string, number>>
  readonly checkpointLoads: number
  readonly crashes: number
  /** Connections that were taken. */
  readonly connects: number
  /** How often a request ended a starting process. */
  readonly startDeaths: number
  /** Generations that came before scripts had their arguments. */
  readonly earlyWork: number
  /** Generation requests that wait or run now, and the most there ever were at once. */
  readonly inFlight: number
  readonly maxInFlight: number
  /** The generation requests that arrived while others waited or ran. */
  readonly crowds: readonly Crowd[]
}

/** Generation requests that waited or ran at once. */
export interface Crowd {
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Their tasks in the order of their arrival; null for one without a name. */
  readonly taskIds: ReadonlyArray<string | null>
}

/** Older generations are forgotten beyond this number, so that a long-lived simulator does not grow. */
const rememberedGenerations = 20_000
const rememberedCrowds = 100

export function createRecords (): Records {
  let generations: GenerationRecord[] = []
  let requests: Record<string, number> = {}
  const sends = new Map<string, number>()
  const nothing = { interrupts: 0, checkpointLoads: 0, crashes: 0, connects: 0, startDeaths: 0, earlyWork: 0 }
  let counts = { ...nothing }
  const inFlight = new Set<{ readonly taskId: string | null }>()
  let maxInFlight = 0
  let crowds: Crowd[] = []

  return {
    begin (start) {
      const record: GenerationRecord = {
        ...start, marks: {}, startedAt: Date.now(), finishedAt: null, interrupted: false, imageCount: 0, outcome: 'running'
      }
      generations.push(record)
      if (generations.length > rememberedGenerations) generations.shift()
      return record
    },
    countRequest (route) {
      requests[route] = (requests[route] ?? 0) + 1
    },
    countSend (taskId) {
      if (taskId === null) return
      sends.set(taskId, (sends.get(taskId) ?? 0) + 1)
      const [oldest] = sends.keys()
      if (sends.size > rememberedGenerations && oldest !== undefined) sends.delete(oldest)
    },
    countInterrupt: () => { counts.interrupts += 1 },
    countCheckpointLoad: () => { counts.checkpointLoads += 1 },
    countCrash () {
      counts.crashes += 1
      inFlight.clear()
    },
    countConnect: () => { counts.connects += 1 },
    countStartDeath: () => { counts.startDeaths += 1 },
    countEarlyWork: () => { counts.earlyWork += 1 },
    enter (taskId) {
      const request = { taskId }
      inFlight.add(request)
      maxInFlight = Math.max(maxInFlight, inFlight.size)
      if (inFlight.size > 1) crowds.push({ at: Date.now(), taskIds: [...inFlight].map(one => one.taskId) })
      if (crowds.length > rememberedCrowds) crowds.shift()
      return () => { inFlight.delete(request) }
    },
    reset () {
      generations = generations.filter(one => one.outcome === 'running')
      requests = {}
      sends.clear()
      counts = { ...nothing }
      maxInFlight = inFlight.size
      crowds = []
    },
    snapshot: () => ({
      generations: generations.map(one => ({ ...one })),
      requests: { ...requests },
      sends: Object.fromEntries(sends),
      ...counts,
      inFlight: inFlight.size,
      maxInFlight,
      crowds: [...crowds]
    })
  }
}
