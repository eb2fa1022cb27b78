import { parseArgs } from 'node:util'
import { type Fault, readFaultText } from './faults/faults.ts'
import { type Family, type Flavor, flavors, profiles } from './flavors.ts'

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

/** What `stablequeue simulator --help` prints. */
export const simulatorHelp = `Usage: stablequeue simulator [options]

A server that behaves like AUTOMATIC1111 1.10.1 without needing a graphics card.

  --port NUMBER           port to listen on (7860; 0 takes a free one)
  --host ADDRESS          address to listen on (127.0.0.1)
  --flavor NAME           a1111, forge, forge-classic, forge-neo, reforge, sdnext or sdcpp (a1111)
  --speed FACTOR          how many times faster than a middling graphics card (1)
  --checkpoints A,B       checkpoint files, "sub/x.safetensors" for one in a sub-folder
  --loras A,B             LoRAs, "sub/x" for one in a sub-folder
  --many-loras NUMBER     so many LoRAs in place of those
  --lora-metadata KB      with so many kilobytes of metadata each (200)
  --load-time SECONDS     how long loading another checkpoint takes (2.5 / speed)
  --auth USER:PASSWORD    ask for this under /sdapi/v1, as --api-auth does
  --no-internal-progress  leave out /internal/*, as --nowebui does
  --no-controlnet         without the ControlNet extension
  --controlnet-units N    how many units ControlNet takes (3)
  --no-regional-prompter  without the extension Regional Prompter
  --bare SECONDS          at each start, how long the port is open before the API is there (0)
  --mount SECONDS         then, how long scripts and extensions take to be complete (0)
  --faults KIND;A=B,...   faults from the start: "nan;probability=0.1;sticky, slow;factor=3"
  --fault-seed NUMBER     seed of everything that happens by chance (1)
  --help                  show this text

While it runs, POST /simulator/faults switches faults on and GET /simulator/state shows what it saw.`

/** Either what to start, or that only the help is wanted. */
export type SimulatorArguments = SimulatorOptions & { readonly help?: true }

/**
 * Reads the flags of `stablequeue simulator`.
 *
 * @throws Error with a sentence about the flag that is wrong
 */
export function parseSimulatorArguments (argv: readonly string[]): SimulatorArguments {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      port: { type: 'string' },
      host: { type: 'string' },
      flavor: { type: 'string' },
      speed: { type: 'string' },
      checkpoints: { type: 'string' },
      loras: { type: 'string' },
      'many-loras': { type: 'string' },
      'lora-metadata': { type: 'string' },
      'load-time': { type: 'string' },
      auth: { type: 'string' },
      'no-internal-progress': { type: 'boolean' },
      'no-controlnet': { type: 'boolean' },
      'controlnet-units': { type: 'string' },
      'no-regional-prompter': { type: 'boolean' },
      bare: { type: 'string' },
      mount: { type: 'string' },
      faults: { type: 'string' },
      'fault-seed': { type: 'string' },
      help: { type: 'boolean', short: 'h' }
    }
  })
  const seconds = readNumber('load-time', values['load-time'], { least: 0 })
  const bare = readNumber('bare', values.bare, { least: 0, most: 600 })
  const mount = readNumber('mount', values.mount, { least: 0, most: 600 })
  const manyLoras = readNumber('many-loras', values['many-loras'], { least: 0, most: 1_000_000, unit: 1 })
  const kilobytes = readNumber('lora-metadata', values['lora-metadata'], { least: 0, most: 1_000_000 }) ?? 200
  const options: SimulatorOptions = {
    port: readNumber('port', values.port, { least: 0, most: 65_535, unit: 1 }) ?? 7860,
    host: values.host,
    flavor: readFlavor(values.flavor),
    speed: readNumber('speed', values.speed, { least: 0.01 }),
    checkpoints: readCheckpoints(values.checkpoints),
    loras: values.loras?.split(',').map(name => name.trim().replace(/\.(safetensors|ckpt|pt)$/, '')).filter(name => name !== ''),
    manyLoras: manyLoras === undefined ? undefined : { count: manyLoras, metadataBytes: kilobytes * 1000 },
    loadMilliseconds: seconds === undefined ? undefined : seconds * 1000,
    auth: readAuth(values.auth),
    internalProgress: values['no-internal-progress'] !== true,
    controlNet: values['no-controlnet'] !== true,
    controlNetUnits: readNumber('controlnet-units', values['controlnet-units'], { least: 1, most: 10, unit: 1 }),
    regionalPrompter: values['no-regional-prompter'] !== true,
    bareMilliseconds: bare === undefined ? undefined : bare * 1000,
    mountMilliseconds: mount === undefined ? undefined : mount * 1000,
    faults: readFaultText(values.faults),
    faultSeed: readNumber('fault-seed', values['fault-seed'], { least: 0, unit: 1 })
  }
  return values.help === true ? { ...options, help: true } : options
}

function readNumber (
  flag: string, text: string | undefined, bounds: { least: number, most?: number, unit?: number }
): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  const isWhole = bounds.unit === undefined || Number.isInteger(value)
  if (text.trim() !== '' && value >= bounds.least && value <= (bounds.most ?? Infinity) && isWhole) return value
  const kind = bounds.unit === undefined ? 'a number' : 'a whole number'
  const range = bounds.most === undefined ? `of at least ${bounds.least}` : `from ${bounds.least} to ${bounds.most}`
  throw new Error(`--${flag} is ${kind} ${range}, not "${text}".`)
}

function readFlavor (text: string | undefined): Flavor | undefined {
  const flavor = flavors.find(one => one === text)
  if (text !== undefined && flavor === undefined) {
    throw new Error(`--flavor is one of ${flavors.join(', ')}, not "${text}".`)
  }
  return flavor
}

function readCheckpoints (text: string | undefined): string[] | undefined {
  const names = text?.split(',').map(name => name.trim()).filter(name => name !== '')
  if (names?.length === 0) throw new Error('--checkpoints is a list of file names with commas between them.')
  return names?.map(name => /\.(safetensors|ckpt)$/.test(name) ? name : `${name}.safetensors`)
}

function readAuth (text: string | undefined): string | undefined {
  if (text !== undefined && !text.split(',').every(pair => /^[^:]+:[^:]+$/.test(pair))) {
    throw new Error('--auth is "user:password", several with commas between them; a password has no ":" or ",".')
  }
  return text
}
