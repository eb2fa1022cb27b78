import { basename } from 'node:path'
import type { JsonObject } from '../a1111/json-values.ts'
import { ServiceError } from '../errors.ts'
import { stemOf } from './companions.ts'
import type { ModelFile } from './model.ts'
import { ownersNsfw } from './sidecars.ts'
import { mergeFile } from './write-sidecar.ts'

export const ownerFields = ['civitai_nsfw', 'description', 'notes', 'trigger_words', 'recommended_weight'] as const
export type OwnerField = (typeof ownerFields)[number]

interface Place {
  readonly ending: '.json' | '.civitai.json'
  readonly name: string
  readonly wanted: string
  readonly fits: (value: unknown) => boolean
}

const isText = (value: unknown) => typeof value === 'string' && value.length <= 20_000
const isWeight = (value: unknown) => typeof value === 'number' && Math.abs(value) <= 10
const forge = (name: string, wanted: string, fits: Place['fits']): Place => ({ ending: '.json', name, wanted, fits })

/** What Forge understands goes into Forge's file, in its words; the rest into ours. */
const places: Readonly<Record<OwnerField, Place>> = {
  civitai_nsfw: {
    ending: '.civitai.json', name: ownersNsfw, wanted: 'true or false', fits: value => typeof value === 'boolean'
  },
  description: forge('description', 'a text', isText),
  notes: forge('notes', 'a text', isText),
  trigger_words: forge('activation text', 'a text, or a list of texts', value =>
    isText(value) || (Array.isArray(value) && value.length <= 200 && value.every(isText))),
  recommended_weight: forge('preferred weight', 'a number from -10 to 10', isWeight)
}

/**
 * Writes down beside a file what its owner says of the model; null takes it away again. Whatever else is written there
 * stays.
 * @throws ServiceError `invalid_field_value`, or an Error where it cannot be written
 */
export async function writeOwnerField (file: ModelFile, field: OwnerField, value: unknown): Promise<void> {
  const { ending, name, wanted, fits } = places[field]
  if (value !== null && !fits(value)) {
    throw new ServiceError('invalid_field_value', `value of ${field} must be ${wanted}, or null.`, { field: 'value' })
  }
  const written = Array.isArray(value) ? value.join(', ') : value
  await mergeFile(file, `${stemOf(basename(file.absolutePath))}${ending}`, before => changed(before, name, written))
}

function changed (before: JsonObject, name: string, value: unknown): JsonObject {
  if (value !== null) return { ...before, [name]: value }
  if (!Object.hasOwn(before, name)) return before
  return Object.fromEntries(Object.entries(before).filter(([key]) => key !== name))
}
