import { basename, dirname } from 'node:path'
import { ServiceError } from '../errors.ts'
import type { FolderNames } from './companions.ts'
import type { ModelFile } from './model.ts'
import { draftSidecar, type SidecarDraft } from './sidecar-file.ts'
import { ownersNsfw } from './sidecars.ts'

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

/** @throws ServiceError `invalid_field_value` */
export function requireOwnerValue (field: OwnerField, value: unknown): void {
  const { wanted, fits } = places[field]
  if (value !== null && !fits(value)) {
    throw new ServiceError('invalid_field_value', `value of ${field} must be ${wanted}, or null.`, { field: 'value' })
  }
}

/**
 * How to write down beside a file what its owner says of the model; null takes it away again. Whatever else is written
 * there stays.
 * @throws Error where it cannot be written
 */
export async function draftOwnerField (
  { root, absolutePath }: ModelFile, names: FolderNames, field: OwnerField, value: unknown
): Promise<SidecarDraft[]> {
  const { ending, name: member } = places[field]
  const filename = basename(absolutePath)
  const place = (name: string) => ({ root, folder: dirname(absolutePath), name })
  if (value === null) {
    // LoRA Manager calls notes the same
    const holding = names.companionsOf(filename).sidecars.filter(sidecar => names.ownersOf(sidecar.name).length === 1 &&
      (sidecar.ending === ending || (field === 'notes' && sidecar.ending === '.metadata.json')))
    const drafts = await Promise.all(holding.map(async sidecar => {
      const draft = draftSidecar(place(sidecar.name), content =>
        Object.hasOwn(content, member) ? { [member]: undefined } : {})
      // nothing of what LoRA Manager's file says is shown while it cannot be read
      return await draft.catch(error => sidecar.ending === ending ? Promise.reject(error) : null)
    }))
    return drafts.filter(draft => draft !== null)
  }
  const name = names.sidecarFor(filename, ending)
  if (name === null) throw new Error(`every name that its ${ending} file could have is another model's`)
  const written = Array.isArray(value) ? value.join(', ') : value
  return [await draftSidecar(place(name), () => ({ [member]: written }))]
}
