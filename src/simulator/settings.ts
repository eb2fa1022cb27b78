import type { Fault } from './faults/faults.ts'
import { profiles, type Family, type Flavor } from './flavors.ts'

export type { Flavor } from './flavors.ts'

export interface SimulatorOptions {
  /** Address to listen on; 127.0.0.1 by default. */
  readonly host?: string | undefined
  /** 0, the default, takes a free one. */
  readonly port?: number | undefined
  /** Which server is simulated; `a1111` by default. */
  readonly flavor?: Flavor | undefined
  /** How many times faster than a middling graphics card; 1 by default, `Infinity` takes no time at all. */
  readonly speed?: number | undefined
  /** Milliseconds for each sampling step whatever the size; overrides `speed`. */
  readonly stepMilliseconds?: number | undefined
  /** Checkpoint files, with `/` for sub-folders; the first one is loaded at the start. */
  readonly checkpoints?: readonly string[] | undefined
  /** LoRAs by name, with `/` for sub-folders; a few of its own by default. */
  readonly loras?: readonly string[] | undefined
  /** In place of those so many with so many bytes of metadata each, made while they are sent. */
  readonly manyLoras?: ManyLoras | undefined
  /** Milliseconds that loading another checkpoint takes; 2500 / `speed` by default, 0 with `stepMilliseconds`. */
  readonly loadMilliseconds?: number | undefined
  /** `user:password`, several separated by commas: what --api-auth asks for. */
  readonly auth?: string | undefined
  /** Whether the routes of the user interface are there (false: --nowebui). True by default. */
  readonly internalProgress?: boolean | undefined
  /** Whether /internal/progress knows what the API generates; false: it takes no `force_task_id`, as behind a proxy. */
  readonly knowsTasks?: boolean | undefined
  /** Requests that each route takes in a minute; 300 for SD.Next, any number for the others. */
  readonly requestsPerMinute?: number | undefined
  /** Seed of everything that happens by chance: faults by probability and the jitter of step times. */
  readonly faultSeed?: number | undefined
  readonly faults?: readonly Fault[] | undefined
  /** Makes every image incompressible, so that answers are as big as they can be. */
  readonly noise?: boolean | undefined
  /** Threads for handlers, 40 by default; more requests than these stall even progress. */
  readonly threads?: number | undefined
  /** Whether the ControlNet extension is installed. True by default. */
  readonly controlNet?: boolean | undefined
  /** Whether the graphics card is one of NVIDIA's; without, it generates on the processor. True by default. */
  readonly cuda?: boolean | undefined
  /** How many units ControlNet takes: the option control_net_unit_count. 3 by default. */
  readonly controlNetUnits?: number | undefined
  /** Titles of further always-on scripts; `adetailer`, `animatediff` and `comments` do what theirs do. */
  readonly scripts?: readonly string[] | undefined
  /** Whether the extension Regional Prompter is installed. True by default. */
  readonly regionalPrompter?: boolean | undefined
  /**
   * At each start, milliseconds from opening the port until the API is there, none by default. A request that comes
   * meanwhile ends an A1111 with a user interface for good; a Forge answers 404.
   */
  readonly bareMilliseconds?: number | undefined
  /** Then, milliseconds until scripts have their default arguments and extensions their routes; none by default. */
  readonly mountMilliseconds?: number | undefined
}

export interface ManyLoras {
  readonly count: number
  readonly metadataBytes: number
}

/** The options with every default filled in. */
export interface SimulatorSettings {
  readonly host: string
  readonly port: number
  readonly flavor: Flavor
  readonly family: Family
  readonly speed: number
  readonly stepMilliseconds: number | null
  readonly checkpoints: readonly string[]
  /** Null for its own. */
  readonly loras: readonly string[] | null
  readonly manyLoras: ManyLoras | null
  readonly loadMilliseconds: number
  readonly auth: string | null
  readonly internalProgress: boolean
  readonly knowsTasks: boolean
  readonly requestsPerMinute: number
  readonly faultSeed: number
  readonly faults: readonly Fault[]
  readonly noise: boolean
  readonly threads: number
  readonly controlNet: boolean
  readonly cuda: boolean
  readonly controlNetUnits: number
  readonly regionalPrompter: boolean
  readonly scripts: readonly string[]
  readonly bareMilliseconds: number
  readonly mountMilliseconds: number
}

const defaultCheckpoints = [
  'dreamscape-v8.safetensors', 'realistic-vision-v6.safetensors', 'anime-pastel.safetensors',
  'sdxl/juggernaut-xl.safetensors'
]

export function resolveSettings (options: SimulatorOptions): SimulatorSettings {
  const speed = options.speed ?? 1
  const isFixed = options.stepMilliseconds !== undefined
  const checkpoints = options.checkpoints ?? defaultCheckpoints
  const flavor = options.flavor ?? 'a1111'
  return {
    host: options.host ?? '127.0.0.1',
    port: options.port ?? 0,
    flavor,
    family: profiles[flavor].family,
    speed,
    stepMilliseconds: options.stepMilliseconds ?? null,
    checkpoints: checkpoints.length > 0 ? checkpoints : defaultCheckpoints,
    loras: options.loras ?? null,
    manyLoras: options.manyLoras ?? null,
    loadMilliseconds: options.loadMilliseconds ?? (isFixed ? 0 : 2500 / speed),
    auth: options.auth ?? null,
    internalProgress: options.internalProgress ?? true,
    knowsTasks: options.knowsTasks ?? profiles[flavor].knowsTasks,
    requestsPerMinute: options.requestsPerMinute ?? (flavor === 'sdnext' ? 300 : Infinity),
    faultSeed: options.faultSeed ?? 1,
    faults: options.faults ?? [],
    noise: options.noise ?? false,
    threads: options.threads ?? 40,
    controlNet: options.controlNet ?? true,
    cuda: options.cuda ?? true,
    controlNetUnits: options.controlNetUnits ?? 3,
    regionalPrompter: options.regionalPrompter ?? true,
    scripts: options.scripts ?? [],
    bareMilliseconds: options.bareMilliseconds ?? 0,
    mountMilliseconds: options.mountMilliseconds ?? 0
  }
}
