import { startSimulator, type Simulator } from '../../src/simulator/simulator.ts'
import { answerParent } from './answer-parent.ts'

/** One server of a fleet. */
export interface FleetServer {
  readonly alias: string
  /** How many times faster than the slowest it generates; it loads as fast as any. */
  readonly speed: number
  /** The first one is loaded at the start. */
  readonly checkpoints: readonly string[]
}

/** Constant times, in milliseconds. */
export interface FleetTimes {
  /** One step at speed 1; encoding the prompt takes as long. */
  readonly step: number
  /** Loading another checkpoint. */
  readonly load: number
}

/** One generation, as its server saw it. */
export interface FleetGeneration {
  readonly jobId: string
  readonly server: string
  readonly checkpoint: string
  /** When it began, which is before its checkpoint was loaded, in milliseconds since the epoch. */
  readonly began: number
  readonly ended: number | null
  readonly outcome: 'running' | 'done' | 'failed' | 'lost'
}

const servers = new Map<string, Simulator>()

answerParent({
  async add (value) {
    const { alias, speed, checkpoints, step, load } = value as FleetServer & FleetTimes
    const server = await startSimulator({ stepMilliseconds: step / speed, loadMilliseconds: load, checkpoints })
    servers.set(alias, server)
    return server.url
  },
  /** All since it was last told to forget, in the order of their begins. */
  ran: () => [...servers].flatMap(([alias, server]) => server.state().generations.map((one): FleetGeneration => ({
    jobId: one.taskId ?? '',
    server: alias,
    checkpoint: one.checkpoint,
    began: one.startedAt,
    ended: one.finishedAt,
    outcome: one.outcome
  }))).toSorted((one, other) => one.began - other.began),
  forget () { for (const server of servers.values()) server.reset() },
  async die (alias) { await servers.get(alias as string)?.crash(Infinity) }
}, () => process.exit())
