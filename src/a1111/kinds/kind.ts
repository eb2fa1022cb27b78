import type { A1111Parameters } from '../../../schemas/generation-parameters.ts'
import type { A1111Client } from '../client.ts'
import type { JsonObject } from '../../lib/json-values.ts'
import type { DrawingMode, Inventory, ListName, Scheduler, ServerProgress } from '../types.ts'

/** What a probe saw of a server; null for a route that is missing, or answers with anything but JSON. */
export interface Sight {
  readonly options: JsonObject
  readonly progress: JsonObject | null
  readonly taskProgress: JsonObject | null
}

/** Whose request a kind takes and repeats in its answers. */
export type RequestModel = 'a1111' | 'forge'

export interface LookIntervals {
  /** For the progress that is shown. */
  readonly progressMs: number
  /** To find the moment at which something can be interrupted. */
  readonly stopMs: number
  /** For previews, while somebody watches. */
  readonly previewMs: number
}

export type ReadingClient = Pick<A1111Client, 'readJson'>
/** What identifies the generation that runs at a server, and whether one does. */
export type MarkReader = (seen: ServerProgress) => Promise<Pick<ServerProgress, 'busy' | 'mark'>>

/** All that is particular to one kind of server. What the kinds share stays in the files around this folder. */
export interface ServerKindRules {
  readonly isSeenIn: (sight: Sight) => boolean
  /** The fields of a request, apart from those that come with every one. */
  readonly requestFields: (mode: DrawingMode, parameters: A1111Parameters) => Record<string, unknown>
  /** A job's changes of settings in the server's own names; null: it takes none, nor a checkpoint, nor our task. */
  readonly overrideSettings: ((settings: Readonly<Record<string, unknown>>) => Record<string, unknown>) | null
  readonly requestModel: RequestModel
  /** Which settings are restored after a generation that overrides them; `saved`: only those in its config file. */
  readonly restoresOverrides: 'all' | 'saved'
  /** Enlarging and face restoration of finished pictures. */
  readonly offersExtras: boolean
  /** Whether VAEs stand among other modules, such as text encoders, in a list `sd-modules` in place of `sd-vae`. */
  readonly listsModules: boolean
  /** Where VAEs are listed; the first that answers counts. */
  readonly vaeRoutes: readonly string[]
  /** How a prompt names a LoRA. */
  readonly loraName: (lora: Inventory['loras'][number]) => string
  /** How a request names a scheduler. */
  readonly schedulerName: (scheduler: Pick<Scheduler, 'name' | 'label'>) => string
  /** Lists whose routes are there, and answer, only when the server's start is over. */
  readonly mountedLast: readonly ListName[]
  /** Families of base models that it loads, of `src/models/base-models.ts`; null: all that are known. */
  readonly families: readonly string[] | null
  /** Taken where a job names no sampler and the server has it; null leaves the choice to the server. */
  readonly defaultSampler: string | null
  /** Taken in place of A1111's where a job names none. */
  readonly defaults: A1111Parameters
  /** Whether the schedule is chosen apart from the sampler. */
  readonly takesSchedulers: boolean
  /** How long one look at a running generation lies after the one before, in milliseconds. */
  readonly looks: LookIntervals
  /** Where the version can be asked for at any time. */
  readonly readVersion?: (client: ReadingClient) => Promise<string | null>
  /** Where what runs is not known by when it began. */
  readonly createMarkReader?: (client: ReadingClient) => MarkReader
  /** What an answer without images means. */
  readonly emptyAnswer: string
  /** Whether the Regional Prompter works in its Latent mode. */
  readonly dividesLatents: boolean
}
