import type { A1111Parameters } from '../../../schemas/generation-parameters.ts'
import type { JsonObject } from '../json-values.ts'
import type { DrawingMode, Inventory, ListName, Scheduler } from '../types.ts'

/** What a probe saw of a server; null for a route that is missing, or answers with anything but JSON. */
export interface Sight {
  readonly options: JsonObject
  readonly progress: JsonObject | null
  readonly taskProgress: JsonObject | null
}

/** All that is particular to one kind of server. What the kinds share stays in the files around this folder. */
export interface ServerKindRules {
  readonly isSeenIn: (sight: Sight) => boolean
  /** The fields of a request, apart from those that come with every one. */
  readonly requestFields: (mode: DrawingMode, parameters: A1111Parameters) => Record<string, unknown>
  /** A job's changes of settings in the server's own names; null: it takes none, nor a checkpoint, nor our task. */
  readonly overrideSettings: ((settings: Readonly<Record<string, unknown>>) => Record<string, unknown>) | null
  /** Enlarging and face restoration of finished pictures. */
  readonly offersExtras: boolean
  /** Where VAEs are listed; the first that answers counts. */
  readonly vaeRoutes: readonly string[]
  /** How a prompt names a LoRA. */
  readonly loraName: (lora: Inventory['loras'][number]) => string
  /** How a request names a scheduler. */
  readonly schedulerName: (scheduler: Pick<Scheduler, 'name' | 'label'>) => string
  /** Taken where a job names no sampler and the server has it. */
  readonly usualSampler: string
  /** Lists whose routes are there, and answer, only when the server's start is over. */
  readonly mountedLast: readonly ListName[]
  /** Families of base models that it loads, of `src/models/base-models.ts`; null: all that are known. */
  readonly families: readonly string[] | null
  /** Whether the Regional Prompter works in its Latent mode. */
  readonly dividesLatents: boolean
}
