import type { ServerKind } from '../../schemas/server.ts'

/**
 * The shapes that the rest of the house sees of an A1111-like server. How A1111 really behaves behind them
 * is the business of the other files in this folder.
 */

export type { ServerKind }
/** How a server wants to be spoken to. */
export type Dialect = Exclude<ServerKind, 'simulator'>
export type DrawingMode = 'txt2img' | 'img2img'
/** `extras` enlarges finished pictures and restores faces in them. */
export type GenerationMode = DrawingMode | 'extras'

/** Where a server is and how to log in; `username` is absent where it asks for nothing. All but `baseUrl` is secret. */
export interface ServerAddress {
  /** Without a trailing slash; may have a base path. */
  readonly baseUrl: string
  readonly username?: string
  readonly password?: string
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as `Authorization: Bearer`. */
  readonly bearer?: string
  /** Certificates in PEM that are trusted there in place of the usual authorities. */
  readonly ca?: string
  /** False: any certificate will do. */
  readonly tlsVerify?: false
}

export interface Checkpoint {
  /** The server's own exact name; the only form that is ever sent back to it. */
  readonly title: string
  readonly modelName: string
  readonly hash: string | null
  readonly sha256: string | null
  readonly filename: string
}

export interface Scheduler {
  readonly name: string
  readonly label: string
  readonly aliases: readonly string[]
}

/** What a server says it has. Lists that its kind does not offer are empty and named in `missing`. */
export interface Inventory {
  readonly checkpoints: readonly Checkpoint[]
  readonly samplers: ReadonlyArray<{ readonly name: string, readonly aliases: readonly string[] }>
  readonly schedulers: readonly Scheduler[]
  readonly upscalers: readonly string[]
  readonly latentUpscaleModes: readonly string[]
  readonly vaes: readonly string[]
  readonly loras: ReadonlyArray<{ readonly name: string, readonly alias: string, readonly path: string }>
  readonly embeddings: readonly string[]
  readonly styles: readonly string[]
  readonly scripts: { readonly txt2img: readonly string[], readonly img2img: readonly string[] }
  /** Of the ControlNet extension: what units may name as `model` and `module`. */
  readonly controlNetModels: readonly string[]
  readonly controlNetModules: readonly string[]
  /** How many units the extension takes; absent or null where the server does not say. */
  readonly controlNetUnits?: number | null
  readonly missing: ReadonlyArray<Exclude<keyof Inventory, 'missing' | 'readAt' | 'controlNetUnits'>>
  /** Milliseconds since the epoch. */
  readonly readAt: number
}

/** A list of the inventory. */
export type ListName = Inventory['missing'][number]

/** What a probe finds out about a server besides its inventory. */
export interface ServerTraits {
  readonly kind: ServerKind
  /** Which kind a simulator behaves like; absent for all others. */
  readonly simulates?: Dialect
  readonly version: string | null
  readonly capabilities: {
    /** `/sdapi/v1/progress` answers. */
    readonly progress: boolean
    /** `/internal/progress` answers, so a task can be told from another's. */
    readonly taskProgress: boolean
    readonly interrupt: boolean
    readonly img2img: boolean
  }
  /** Title of the checkpoint that is selected, where the server tells. */
  readonly loadedCheckpoint: string | null
  /** Routes that work is sent to and that the server is known to lack; absent where none was looked for yet. */
  readonly missingRoutes?: readonly string[]
}

/** Where work of a mode is sent. */
export function routeOf (mode: GenerationMode): string {
  return `/sdapi/v1/${mode === 'extras' ? 'extra-batch-images' : mode}`
}

/** How far something is. */
export interface ProgressFigures {
  /** 0 to 1. */
  readonly fraction: number
  readonly step: number | null
  readonly steps: number | null
  /** Seconds, as the server guesses; null where it does not. */
  readonly etaSeconds: number | null
}

/** One look at a running generation. */
export interface ServerProgress extends ProgressFigures {
  /**
   * The asked task: `running`; `queued` behind another, or about to begin where nothing is busy; `gone`: over, or not
   * known (yet); or `unknown` where only a global view exists. The generation's own answer has the last word.
   */
  readonly task: 'running' | 'queued' | 'gone' | 'unknown'
  /** Whether anything runs at the server. */
  readonly busy: boolean
  /** When what runs began, to the second of the server's clock: tells one from the next; null while nothing runs. */
  readonly mark: string | null
  /** What the server says of whatever it runs, also where that is not the asked task. */
  readonly whole: ProgressFigures
}

/** Takes one decoded output image as it arrives. */
export interface ImageSink {
  /** Resolves when more may be written. */
  write (bytes: Buffer): Promise<void>
  /** All bytes were written. */
  end (): Promise<void>
  /** The answer broke off; what was written is to be thrown away. */
  abort (): Promise<void>
}

/** The answer to a generation, its images gone into their sinks. */
export interface GenerationAnswer {
  /** How many entries `images` has; those that can be read were written, in their order. */
  readonly imageCount: number
  /** `info`, parsed; null where it was no JSON object. */
  readonly info: Readonly<Record<string, unknown>> | null
  /** The server's echo of the request; null takes the place of strings over some 64 KiB, the images sent to it. */
  readonly parameters: Readonly<Record<string, unknown>> | null
}

/** Kinds of failure, each with its own handling (who is at fault decides what happens next). */
export type FailureClass =
  | 'request' // the job's own fault: fails now
  | 'server-down' // nothing listens, or it went away: the line waits, no attempt is used
  | 'unauthorized' // credentials are wrong: the line waits for the operator
  | 'blocked' // the server answers its looks, but not to this: a proxy's limit, a firewall, a missing route
  | 'passing' // may work next time: retried with backoff
  | 'out-of-memory' // may work after unloading
  | 'timeout' // the job's deadline passed
  | 'cancelled' // our own signal
  | 'bad-answer' // 200 with something that is no answer
  | 'internal' // this machine's fault: a full disk, no handles, Redis; nothing is sent meanwhile, no attempt is used

/** What a server answered where it refused or failed a request, in its own words. */
export interface ErrorAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

/** What a1111 functions throw: a class for the machinery, a code for callers, a sentence for people. */
export class GenerationFailure extends Error {
  override readonly name = 'GenerationFailure'
  readonly failureClass: FailureClass
  /** Short machine-readable code such as `out_of_memory`, `connection_refused`, `server_error`. */
  readonly code: string
  /** Whether the request may have reached the server, so that a generation may be running there. */
  readonly mayBeRunning: boolean
  /** Whether the same request would surely fail in the same way there. */
  readonly isFinal: boolean
  /** Milliseconds that the server wants to be left alone; null where it says nothing of the kind. */
  readonly retryAfterMs: number | null
  /** The server's own answer, where that is what the failure is about. */
  readonly answer: ErrorAnswer | null

  constructor (
    failureClass: FailureClass, code: string, message: string,
    options: ErrorOptions & {
      mayBeRunning?: boolean, isFinal?: boolean, retryAfterMs?: number | null, answer?: ErrorAnswer | null
    } = {}
  ) {
    super(message, options)
    this.failureClass = failureClass
    this.code = code
    this.mayBeRunning = options.mayBeRunning ?? false
    this.isFinal = options.isFinal ?? false
    this.retryAfterMs = options.retryAfterMs ?? null
    this.answer = options.answer ?? null
  }
}
