import type { A1111Parameters } from '../../../schemas/generation-parameters.ts'
import type { A1111Client } from '../client.ts'
import type { JsonObject } from '../../lib/json-values.ts'
import type { DrawingMode, Inventory, ListName, Scheduler, ServerProgress } from '../types.ts'

/** The answers that a probe got from a server; null for a route that is missing or does not answer JSON. */
export interface Sight {
  readonly options: JsonObject
  readonly progress: JsonObject | null
  readonly taskProgress: JsonObject | null
}

/** The model of requests that a kind accepts and repeats in its answers. */
export type RequestModel = 'a1111' | 'forge'

export interface LookIntervals {
  /** For the progress that is shown. */
  readonly progressMs: number
  /** To find the time at which something can be interrupted. */
  readonly stopMs: number
  /** For previews, while a client watches. */
  readonly previewMs: number
}

export type ReadingClient = Pick<A1111Client, 'readJson'>
/** Reads the mark of the generation that runs at a server, and whether one does. */
export type MarkReader = (seen: ServerProgress) => Promise<Pick<ServerProgress, 'busy' | 'mark'>>

/** Everything particular to one kind of server. Code that the kinds share is in the files around this folder. */
export interface ServerKindRules {
  readonly isSeenIn: (sight: Sight) => boolean
  /** The fields of a request, apart from those that come with every one. */
  readonly requestFields: (mode: DrawingMode, parameters: A1111Parameters) => Record<string, unknown>
  /**
   * A job's changes of settings in the server's own names; null: it accepts neither settings nor a checkpoint nor our
   * task.
   */
  readonly overrideSettings: ((settings: Readonly<Record<string, unknown>>) => Record<string, unknown>) | null
  readonly requestModel: RequestModel
  /** Which settings are restored after a generation that overrides them; `saved`: only those in its config file. */
  readonly restoresOverrides: 'all' | 'saved'
  /** Enlarging and face restoration of finished images. */
  readonly offersExtras: boolean
  /** Whether VAEs are listed among other modules, such as text encoders, in a list `sd-modules` instead of `sd-vae`. */
  readonly listsModules: boolean
  /** Where VAEs are listed; the first that answers counts. */
  readonly vaeRoutes: readonly string[]
  /** How a prompt names a LoRA. */
  readonly loraName: (lora: Inventory['loras'][number]) => string
  /** How a request names a scheduler. */
  readonly schedulerName: (scheduler: Pick<Scheduler, 'name' | 'label'>) => string
  /** Lists whose routes exist, and answer, only after the server's start. */
  readonly mountedLast: readonly ListName[]
  /** Families of base models that it loads, of `src/models/base-models.ts`; null: all that are known. */
  readonly families: readonly string[] | null
  /** The sampler of jobs that name none, if the server has it; null leaves the choice to the server. */
  readonly defaultSampler: string | null
  /** Defaults that replace A1111's. */
  readonly defaults: A1111Parameters
  /** Whether the schedule is chosen apart from the sampler. */
  readonly takesSchedulers: boolean
  /** Time between two probes of a running generation, in milliseconds. */
  readonly looks: LookIntervals
  /** For kinds whose version can be read at any time. */
  readonly readVersion?: (client: ReadingClient) => Promise<string | null>
  /** For kinds whose running generation cannot be identified by its start time. */
  readonly createMarkReader?: (client: ReadingClient) => MarkReader
  /** The meaning of an answer without images. */
  readonly emptyAnswer: string
  /** Whether the Regional Prompter works in its Latent mode. */
  readonly dividesLatents: boolean
}
