import { createFaultBox, type FaultBox } from './faults/fault-box.ts'
import { createRecords, type Records } from './records.ts'
import type { SimulatorSettings } from './settings.ts'
import type { StartTimes } from './start.ts'

/** What outlives the simulated server process: its disk, how it is started, and what we watch and break. */
export interface Machine {
  readonly settings: SimulatorSettings
  readonly faults: FaultBox
  readonly records: Records
  /** Files in the models folder, A1111's hash cache and its config file. */
  readonly disk: {
    checkpoints: readonly string[]
    /** Null for the simulator's own; seen after a refresh. */
    loras: readonly string[] | null
    seenLoras: readonly string[] | null
    readonly hashed: Set<string>
    /** As it was last saved. */
    readonly config: Map<string, unknown>
  }
  /** What is restored after an override: settings that are set, as A1111 does it, or nothing. */
  restores: 'saved' | 'none'
  /** The value of --api-auth at the next start. */
  auth: string | null
  /** How slowly it starts next time. */
  readonly start: StartTimes
}

export function createMachine (settings: SimulatorSettings): Machine {
  return {
    settings,
    faults: createFaultBox(settings.faultSeed, settings.faults),
    records: createRecords(),
    disk: {
      checkpoints: settings.checkpoints,
      loras: settings.loras,
      seenLoras: settings.loras,
      hashed: new Set(),
      config: new Map()
    },
    restores: 'saved',
    auth: settings.auth,
    start: { bareMilliseconds: settings.bareMilliseconds, mountMilliseconds: settings.mountMilliseconds }
  }
}
