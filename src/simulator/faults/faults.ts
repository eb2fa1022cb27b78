import { media, type Medium } from '../images/media.ts'
import { createRandom } from '../random.ts'

/** Everything that can be made to go wrong with a generation. */
export const faultKinds = [
  'crash-before', // the process dies on arrival of the request
  'crash-mid', // in the middle of sampling
  'crash-after', // when all is done, before the answer is sent
  'hang', // stays at a step until the fault is taken away
  'hang-loading', // stays before its first step, as while a checkpoint loads, until the fault is taken away
  'slow', // every step takes `factor` times as long
  'progress-freeze', // progress keeps saying the same while the job goes on
  'out-of-memory', // 500 OutOfMemoryError
  'nan', // 500 NansException
  'exception-group', // 500 as a host with anyio 4 words any error
  'runtime-error', // 500 RuntimeError with the words of `message`
  'cuda-poisoned', // 500 now and for every later job until a restart
  'bad-gateway', // a proxy answers 502 in HTML; nothing is generated
  'gateway-timeout', // a proxy answers 504 (or `status`) in HTML once it has waited too long; the job goes on behind it
  'connection-cut', // a tunnel cuts a connection that was silent for too long; the job goes on behind it
  'forbidden', // a firewall answers 403 (or `status`) in HTML; nothing is generated
  'login-redirect', // a proxy redirects to its login page; nothing is generated
  'html-answer', // a web page with status 200; nothing is generated
  'proxy-away', // a proxy answers 502 in HTML, this generation and the next `count` requests of any route
  'missing-route', // the route `path` is not there: 404, or `status`, as FastAPI says it or as `page`
  'truncated-json', // a complete answer whose JSON stops half-way
  'cut-body', // the socket is cut in the middle of the answer
  'wrong-image-count', // `count` images, or one too few
  'corrupt-base64', // images are no base64
  'corrupt-image', // images are base64 of something else
  'wrong-checkpoint', // another checkpoint is used, and named in the answer
  'wrong-size', // the second pass of hires fix is left out, or the image has half its size
  'other-media', // `media` come instead of the images, or behind them with `beside`
  'bare-nan', // `info` has a NaN, as Python writes it
  'wrong-seed', // another seed is used, and named in the answer
  'stuck-lock', // the request is accepted and never starts until the fault is taken away
  'human-job', // a person's job of `steps` steps takes the lock just before
  'other-models', // the process restarts with the files of `checkpoints`, or without the first one
  'other-password', // the process restarts and asks for `auth`
  'noise', // incompressible images
  'cannot-load', // models of upscalers and for faces, which A1111 keeps to itself: for one request of the extras
  'script-error' // ControlNet and other extensions fail, which A1111 keeps to itself
] as const

export type FaultKind = typeof faultKinds[number]

/** A fault and when it strikes. */
export interface Fault {
  readonly kind: FaultKind
  /** For how many generations, 1 by default; see `sticky`. */
  readonly times?: number | undefined
  /** Strikes until it is taken away. */
  readonly sticky?: boolean | undefined
  /** 0 to 1: chance for each generation, generated from the simulator's fault seed; 1 by default. */
  readonly probability?: number | undefined
  /** Only generations whose prompt contains this text. */
  readonly prompt?: string | undefined
  /** Crashes and restarts: milliseconds for which connections are refused; 1000 by default. */
  readonly refuseMilliseconds?: number | undefined
  /** `slow`: how many times longer; 10 by default. */
  readonly factor?: number | undefined
  /** `wrong-image-count`: how many images there are instead; `proxy-away`: for how many requests more, 5 by default. */
  readonly count?: number | undefined
  /** `other-media`: the format; `unknown` is base64 of something else, `path` names a file on the server's disk. */
  readonly media?: readonly Medium[] | undefined
  /** `other-media`: whether the images come as well. */
  readonly beside?: boolean | undefined
  /** `gateway-timeout`, `connection-cut`: milliseconds after which the proxy gives up; 0 by default. */
  readonly afterMilliseconds?: number | undefined
  /** Status that a proxy, a firewall or a missing route answers with, in place of the usual one. */
  readonly status?: number | undefined
  /** `missing-route`: such as `/sdapi/v1/txt2img`. */
  readonly path?: string | undefined
  /** `missing-route`: only for this method; for all by default. */
  readonly method?: string | undefined
  /** `missing-route`: whether a proxy says it with a web page of its own. */
  readonly page?: boolean | undefined
  /** `runtime-error`: the server's message. */
  readonly message?: string | undefined
  /** `human-job`: how long it is; 20 by default. */
  readonly steps?: number | undefined
  /** `other-models`: file names. */
  readonly checkpoints?: readonly string[] | undefined
  /** `other-password`: `user:password`, or null for none; `changed:changed` by default. */
  readonly auth?: string | null | undefined
  /** `crash-mid`, `hang`, `out-of-memory`, `nan`: how many steps are done before; half of them (or 0) by default. */
  readonly afterSteps?: number | undefined
}

/** The faults that strike one generation. */
export interface StruckFaults {
  get (kind: FaultKind): Fault | undefined
  has (kind: FaultKind): boolean
}

/**
 * Checks faults that came over the wire.
 *
 * @throws Error with a sentence that says what is wrong
 */
export function readFaults (value: unknown): Fault[] {
  if (!Array.isArray(value)) throw new Error('Faults are a list of objects, each with a "kind".')
  return value.map(readFault)
}

function readFault (value: unknown): Fault {
  const given = typeof value === 'string' ? { kind: value } : value
  if (typeof given !== 'object' || given === null || !('kind' in given)) {
    throw new Error('A fault is an object with a "kind", or just the kind.')
  }
  const kind = faultKinds.find(one => one === given.kind)
  if (kind === undefined) {
    throw new Error(`There is no fault "${String(given.kind)}"; there are: ${faultKinds.join(', ')}.`)
  }
  for (const [name, setting] of Object.entries(given)) {
    const rule = settingRules[name as keyof Fault]
    if (rule === undefined) {
      throw new Error(`A fault has no "${name}"; it may have: ${Object.keys(settingRules).join(', ')}.`)
    }
    if (!rule.fits(setting)) throw new Error(`"${name}" of a fault must be ${rule.words}.`)
  }
  return { ...given, kind }
}

interface SettingRule {
  readonly words: string
  readonly fits: (value: unknown) => boolean
}

const text: SettingRule = { words: 'text', fits: value => typeof value === 'string' }
const number: SettingRule = {
  words: 'a number from 0', fits: value => typeof value === 'number' && value >= 0 && Number.isFinite(value)
}
const count: SettingRule = { words: 'a whole number from 0', fits: value => number.fits(value) && Number.isInteger(value) }

const settingRules: Readonly<Record<keyof Fault, SettingRule>> = {
  kind: text,
  times: count,
  sticky: { words: 'true or false', fits: value => typeof value === 'boolean' },
  probability: { words: 'a number from 0 to 1', fits: value => number.fits(value) && Number(value) <= 1 },
  prompt: text,
  refuseMilliseconds: number,
  factor: number,
  count,
  afterMilliseconds: number,
  status: { words: 'a status from 300 to 599', fits: value => count.fits(value) && Number(value) >= 300 && Number(value) < 600 },
  path: text,
  method: text,
  page: { words: 'true or false', fits: value => typeof value === 'boolean' },
  message: text,
  steps: count,
  checkpoints: {
    words: 'a list of file names',
    fits: value => Array.isArray(value) && value.length > 0 && value.every(text.fits)
  },
  media: {
    words: `a list of ${media.join(', ')}`,
    fits: value => Array.isArray(value) && value.every(one => media.some(known => known === one))
  },
  beside: { words: 'true or false', fits: value => typeof value === 'boolean' },
  auth: { words: 'text or null', fits: value => value === null || text.fits(value) },
  afterSteps: count
}

/**
 * Reads faults as the header `x-simulator-fault` and the flag `--faults` have them, such as `slow;factor=3, noise`.
 *
 * @throws Error with a sentence that says what is wrong
 */
export function readFaultText (text: string | undefined): Fault[] {
  if (text === undefined) return []
  return readFaults(text.split(',').map(part => {
    const [kind, ...settings] = part.split(';').map(piece => piece.trim())
    return { ...Object.fromEntries(settings.map(readSetting)), kind }
  }))
}

function readSetting (text: string): [name: string, value: unknown] {
  const [name = '', value = 'true'] = text.split('=')
  if (value === 'true' || value === 'false') return [name, value === 'true']
  return [name, value.trim() === '' || Number.isNaN(Number(value)) ? value : Number(value)]
}

/** The faults that are switched on now. */
export interface FaultBox {
  /** Replaces all faults; requests that hang because of a removed one continue. */
  set (faults: readonly Fault[]): void
  list (): readonly Fault[]
  /** Decides which faults strike a generation; `own` came with its request and always do. */
  draw (prompt: string, own: readonly Fault[]): StruckFaults
  /** The missing route that a request asks for, if it is one. */
  drawMissing (method: string, path: string): Fault | undefined
  /** Whether a fault affects requests that are no generation. */
  drawOther (kind: FaultKind): boolean
  /** Lets a proxy be away for so many requests. */
  goAway (requests: number): void
  /** Whether a proxy is away for this request. */
  isAway (): boolean
  /** Resolves when the fault was taken away. */
  gone (fault: Fault): Promise<void>
}

/** They strike other requests than generations. */
const elsewhere: ReadonlySet<FaultKind> = new Set(['missing-route', 'cannot-load'])

export function createFaultBox (seed: number, initial: readonly Fault[]): FaultBox {
  const random = createRandom(seed)
  let armed: Array<{ readonly fault: Fault, left: number }> = []
  let active = new Set<Fault>()
  let away = 0
  const waiting: Array<() => void> = []

  function set (faults: readonly Fault[]): void {
    armed = faults.map(fault => ({ fault, left: fault.sticky === true ? Infinity : fault.times ?? 1 }))
    active = new Set(faults)
    away = 0
    for (const wake of waiting.splice(0)) wake()
  }

  function strikes (entry: { readonly fault: Fault, readonly left: number }, prompt: string): boolean {
    const { fault, left } = entry
    if (left <= 0 || (fault.prompt !== undefined && !prompt.includes(fault.prompt))) return false
    return fault.probability === undefined || random() < fault.probability
  }

  set(initial)

  return {
    set,
    list: () => armed.filter(entry => entry.left > 0).map(entry => entry.fault),
    draw (prompt, own) {
      const struck = new Map<FaultKind, Fault>()
      for (const entry of armed) {
        if (elsewhere.has(entry.fault.kind) || !strikes(entry, prompt)) continue
        entry.left -= 1
        struck.set(entry.fault.kind, entry.fault)
      }
      for (const fault of own) {
        struck.set(fault.kind, fault)
        active.add(fault)
      }
      return { get: kind => struck.get(kind), has: kind => struck.has(kind) }
    },
    drawMissing (method, path) {
      const entry = armed.find(({ fault, left }) => fault.kind === 'missing-route' && left > 0 &&
        fault.path === path && (fault.method ?? method) === method)
      if (entry !== undefined) entry.left -= 1
      return entry?.fault
    },
    drawOther (kind) {
      const entry = armed.find(({ fault, left }) => fault.kind === kind && left > 0)
      if (entry !== undefined) entry.left -= 1
      return entry !== undefined
    },
    goAway (requests) { away = requests },
    isAway () {
      if (away <= 0) return false
      away -= 1
      return true
    },
    async gone (fault) {
      while (active.has(fault)) await new Promise<void>(resolve => { waiting.push(resolve) })
    }
  }
}
