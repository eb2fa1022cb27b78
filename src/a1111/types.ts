import type { ServerKind } from '../../schemas/server.ts'

/**
 * The types through which the rest of the code sees an A1111-like server. The other files in this folder handle how
 * A1111 really behaves.
 */

export type { ServerKind }
/** The kind of server that requests must suit. */
export type Dialect = Exclude<ServerKind, 'simulator'>
export type DrawingMode = 'txt2img' | 'img2img'
/** `extras` upscales finished images and restores faces in them. */
export type GenerationMode = DrawingMode | 'extras'

/**
 * Where a server is and how to log in; `username` is absent if it needs no login. Everything but `baseUrl` is secret.
 */
export interface ServerAddress {
  /** Without a trailing slash; may have a base path. */
  readonly baseUrl: string
  readonly username?: string
  readonly password?: string
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as `Authorization: Bearer`. */
  readonly bearer?: string
  /** Certificates in PEM that are trusted there instead of the usual authorities. */
  readonly ca?: string
  /** False: any certificate is accepted. */
  readonly tlsVerify?: false
}

export interface Checkpoint {
  /** The server's own exact name; the only form that is sent to it. */
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

/** A server's lists of files and names. Lists that its kind does not offer are empty and named in `missing`. */
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
  /** Of the ControlNet extension: the values of a unit's `model` and `module`. */
  readonly controlNetModels: readonly string[]
  readonly controlNetModules: readonly string[]
  /** How many units the extension accepts; absent or null if the server does not report it. */
  readonly controlNetUnits?: number | null
  readonly missing: ReadonlyArray<Exclude<keyof Inventory, 'missing' | 'readAt' | 'controlNetUnits'>>
  /** Milliseconds since the epoch. */
  readonly readAt: number
}

/** A list of the inventory. */
export type ListName = Inventory['missing'][number]

/** The findings of a probe besides the inventory. */
export interface ServerTraits {
  readonly kind: ServerKind
  /** Which kind a simulator behaves like; absent for all others. */
  readonly simulates?: Dialect
  readonly version: string | null
  readonly capabilities: {
    /** `/sdapi/v1/progress` answers. */
    readonly progress: boolean
    /** `/internal/progress` answers, so tasks can be distinguished. */
    readonly taskProgress: boolean
    readonly interrupt: boolean
    readonly img2img: boolean
  }
  /** Title of the selected checkpoint, if the server reports it. */
  readonly loadedCheckpoint: string | null
  /** Routes for work that the server is known to lack; absent if they were not probed yet. */
  readonly missingRoutes?: readonly string[]
}

/** The route for work of a mode. */
export function routeOf (mode: GenerationMode): string {
  return `/sdapi/v1/${mode === 'extras' ? 'extra-batch-images' : mode}`
}

/** The progress of a generation. */
export interface ProgressFigures {
  /** 0 to 1. */
  readonly fraction: number
  readonly step: number | null
  readonly steps: number | null
  /** Seconds left, as the server estimates; null if it does not. */
  readonly etaSeconds: number | null
}

/** One reading of a running generation. */
export interface ServerProgress extends ProgressFigures {
  /**
   * The requested task: `running`; `queued` behind another, or about to begin if nothing is busy; `gone`: over, or not
   * known (yet); or `unknown` if only a global view exists. The generation's own answer decides.
   */
  readonly task: 'running' | 'queued' | 'gone' | 'unknown'
  /** Whether anything runs at the server. */
  readonly busy: boolean
  /**
   * When the current generation began, to the second of the server's clock, which distinguishes it from the next; null
   * while nothing runs.
   */
  readonly mark: string | null
  /** The server's current progress, even if that is not the requested task. */
  readonly whole: ProgressFigures
}

/** Takes one decoded output image as it arrives. */
export interface ImageSink {
  /** Resolves when more can be written; the caller can then change these bytes. */
  write (bytes: Buffer): Promise<void>
  /** All bytes were written. */
  end (): Promise<void>
  /** The answer was cut off; the written bytes must be discarded. */
  abort (): Promise<void>
}

/** The answer to a generation, its images gone into their sinks. */
export interface GenerationAnswer {
  /** How many entries `images` has; those that can be read were written, in their order. */
  readonly imageCount: number
  /** `info`, parsed; null if it was not a JSON object. */
  readonly info: Readonly<Record<string, unknown>> | null
  /** The server's echo of the request; null replaces strings over about 64 KiB, the images sent to it. */
  readonly parameters: Readonly<Record<string, unknown>> | null
}

/** Kinds of failure, each with its own handling (the cause decides what happens next). */
export type FailureClass =
  | 'request' // the job's own fault: fails now
  | 'server-down' // nothing listens, or it went away: the queue waits, no attempt is used
  | 'unauthorized' // credentials are wrong: the queue waits for the operator
  | 'blocked' // the server answers its probes, but not this: a proxy's limit, a firewall, no route
  | 'passing' // can work next time: retried with backoff
  | 'out-of-memory' // can work after unloading
  | 'timeout' // the job's deadline passed
  | 'cancelled' // our own signal
  | 'bad-answer' // 200 with something that is not an answer
  | 'internal' // this machine's fault: a full disk, no handles, Redis; nothing is sent meanwhile, no attempt is used

/** A server's answer to a refused or failed request, in its own words. */
export interface ErrorAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

/** The error that a1111 functions throw: a class for the code, a code for clients, a sentence for people. */
export class GenerationFailure extends Error {
  override readonly name = 'GenerationFailure'
  readonly failureClass: FailureClass
  /** Short machine-readable code such as `out_of_memory`, `connection_refused`, `server_error`. */
  readonly code: string
  /** Whether the request can have reached the server, so that a generation can be running there. */
  readonly mayBeRunning: boolean
  /** Whether the same request would certainly fail in the same way there. */
  readonly isFinal: boolean
  /** Milliseconds for which the server wants no requests; null if it does not say. */
  readonly retryAfterMs: number | null
  /** The server's own answer, if it is the cause of the failure. */
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
