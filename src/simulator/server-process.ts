import {
  classicSamplers, forgeSamplers, forgeSchedulers, type Sampler, samplers, type Scheduler, schedulers, sdnextSamplers
} from '../a1111/sampler-defaults.ts'
import { createSemaphore, type Semaphore } from '../lib/semaphore.ts'
import { type CheckpointFile, type Checkpoints, createCheckpoints } from './checkpoints.ts'
import { createFaultBox, type FaultBox } from './faults/faults.ts'
import { createOptions, type Options } from './options.ts'
import { createTasks, type PreviewOptions, type Tasks } from './progress.ts'
import { createRecords, type Records } from './records.ts'
import type { ManyLoras, SimulatorSettings } from './settings.ts'
import { createStart, type Start, type StartTimes } from './start.ts'
import { createState, type State } from './state.ts'
import { createPace, createTiming, type Pace, type Timing, wait } from './timing.ts'

/** What outlives the simulated server process: its disk, how it is started, and what we watch and break. */
interface Machine {
  readonly settings: SimulatorSettings
  readonly faults: FaultBox
  readonly records: Records
  /** Files in the models folder, A1111's hash cache and its config file. */
  readonly disk: {
    checkpoints: readonly string[]
    /** Null for the simulator's own; seen after a refresh. */
    loras: readonly string[] | null
    seenLoras: readonly string[] | null
    /** In place of those. */
    manyLoras: ManyLoras | null
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
      manyLoras: settings.manyLoras,
      hashed: new Set(),
      config: new Map()
    },
    restores: 'saved',
    auth: settings.auth,
    start: { bareMilliseconds: settings.bareMilliseconds, mountMilliseconds: settings.mountMilliseconds }
  }
}

/** Runs work in turn, until the process dies: then the work that waits fails with `ProcessDied`. */
type Lock = Pick<Semaphore, 'run' | 'waiting'>

/** One run of the simulated server: everything here is lost when it crashes. */
export interface ServerProcess {
  readonly machine: Machine
  /** Aborted when the process dies. */
  readonly life: AbortSignal
  /** How far its start has come. */
  readonly start: Start
  readonly state: State
  readonly tasks: Tasks
  /** One job at a time, in order of arrival. */
  readonly jobLock: Lock
  /** Handlers that are plain functions run in a pool, which can run full. */
  readonly threads: Lock
  readonly options: Options
  readonly checkpoints: Checkpoints
  /** What SD.Next tells of the requests of its API; others keep no such list. */
  readonly history: Array<{ readonly id: string, readonly job: string, readonly op: 'begin' | 'end' }>
  readonly lists: { readonly samplers: readonly Sampler[], readonly schedulers: readonly Scheduler[] }
  readonly pace: Pace
  readonly timing: Timing
  readonly memory: {
    loaded: CheckpointFile | null
    /** A CUDA error that makes every later job fail. */
    poisoned: boolean
    /** While set, progress is told from this instead of the real state. */
    frozenState: State | null
  }
  /** Cuts every connection, refuses new ones for so many milliseconds (Infinity: for good), then starts again. */
  readonly die: (refuseMilliseconds: number) => void
}

/**
 * Both kinds of jam in A1111: the job lock has one slot, Starlette's thread pool forty.
 * @param life its reason is `ProcessDied`
 */
function createLock (slots: number, life: AbortSignal): Lock {
  const { run, waiting } = createSemaphore(slots)
  return { run: async work => await run(work, life), waiting }
}

/** Starts a process on the machine, with the first (or the last selected) checkpoint loaded. */
export function createServerProcess (
  machine: Machine, life: AbortSignal, die: (refuseMilliseconds: number) => void
): ServerProcess {
  const { settings, disk } = machine
  const server: ServerProcess = {
    machine,
    life,
    start: createStart(settings, { ...machine.start }),
    state: createState(),
    tasks: createTasks(),
    jobLock: createLock(1, life),
    threads: createLock(settings.threads, life),
    options: createOptions(settings, disk.config),
    checkpoints: createCheckpoints(disk.checkpoints, disk.hashed),
    lists: listsOf(settings),
    history: [],
    pace: createPace(life),
    timing: createTiming(settings),
    memory: { loaded: null, poisoned: false, frozenState: null },
    die
  }
  becomeLoaded(server, selectedCheckpoint(server))
  return server
}

function listsOf ({ flavor, family }: SimulatorSettings): ServerProcess['lists'] {
  if (flavor === 'sdnext') return { samplers: sdnextSamplers, schedulers }
  if (flavor === 'forge-classic') return { samplers: classicSamplers, schedulers }
  return family === 'forge' ? { samplers: forgeSamplers, schedulers: forgeSchedulers } : { samplers, schedulers }
}

/** The checkpoint that the options name, or the first one where they name none that exists. */
export function selectedCheckpoint ({ checkpoints, options }: ServerProcess): CheckpointFile {
  const [first] = checkpoints.list() as [CheckpointFile]
  return checkpoints.find(options.get('sd_model_checkpoint')) ?? first
}

/** Loads a checkpoint, which takes its time, unless it is the one that is loaded. */
export async function loadCheckpoint (server: ServerProcess, file: CheckpointFile): Promise<void> {
  if (server.memory.loaded === file) return
  server.machine.records.countCheckpointLoad()
  if (server.timing.load > 0) await wait(server.timing.load, server.life)
  becomeLoaded(server, file)
}

function becomeLoaded ({ machine, memory, checkpoints, options }: ServerProcess, file: CheckpointFile): void {
  memory.loaded = file
  checkpoints.hash(file)
  // hashing changes the title, and loading writes the new one into the options; Forge selects nothing by itself
  if (machine.settings.family !== 'forge') options.write('sd_model_checkpoint', checkpoints.title(file))
  options.write('sd_checkpoint_hash', file.sha256)
}

/** Frees the loaded checkpoint: the next generation loads it again. */
export function becomeUnloaded ({ memory }: ServerProcess): void {
  memory.loaded = null
}

export function previewOptions ({ options }: ServerProcess): PreviewOptions {
  return {
    enabled: options.get('live_previews_enable') === true,
    everySteps: Number(options.get('show_progress_every_n_steps'))
  }
}
