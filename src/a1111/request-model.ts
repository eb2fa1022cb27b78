import type { Static, TProperties, TSchema } from '@sinclair/typebox'
import {
  apiFields, commonFields, denoisingFields, factsOf, hiresFields, img2imgApiFields, img2imgFields, scriptFields
} from '../../schemas/a1111-fields.ts'
import { type FieldKind, type Model, optional, strict } from '../fastapi/model.ts'
import { sdnext } from './kinds/sdnext.ts'

export type Mode = 'txt2img' | 'img2img'

/** A field's value in a request; it never contains references to stored images. */
type Value<Field extends TSchema> = Exclude<Static<Field>, { readonly $media: string }>
type Values<Fields extends TProperties> = { [Name in keyof Fields]: Value<Fields[Name]> }
type Nullable<Fields extends TProperties> = { [Name in keyof Fields]: Value<Fields[Name]> | null }

type Common = typeof commonFields & typeof denoisingFields & Pick<typeof apiFields, 'force_task_id' | 'infotext' |
  'override_settings_restore_afterwards'> & Pick<typeof scriptFields, 'script_name'>
type Numbers = Pick<typeof commonFields, 'batch_size' | 'n_iter' | 'steps' | 'cfg_scale' | 'width' | 'height'>
type Strict = Pick<typeof apiFields, 'sampler_index' | 'send_images' | 'save_images'> &
  Pick<typeof scriptFields, 'script_args' | 'alwayson_scripts'>
type OfOneMode = typeof hiresFields & typeof img2imgFields & typeof img2imgApiFields

/**
 * A generation request once it was read as A1111's model of it; every field of its mode is there. A1111 fails at null
 * for its numbers.
 */
export type GenerationRequest =
  Nullable<Omit<Common, keyof Numbers>> & Values<Numbers & Strict> & Partial<Nullable<OfOneMode>>

const kinds: Readonly<Record<string, FieldKind>> = {
  string: 'string', integer: 'integer', number: 'number', boolean: 'boolean', object: 'object', array: 'list'
}

/** SD.Next's different defaults. */
const sdnextFallbacks: Readonly<Record<string, unknown>> = { ...sdnext.defaults, sampler_name: 'Default' }

const fieldsOf: Readonly<Record<Mode, TProperties>> = {
  txt2img: { ...commonFields, ...denoisingFields, ...hiresFields, ...apiFields, ...scriptFields },
  img2img: { ...commonFields, ...denoisingFields, ...img2imgFields, ...apiFields, ...img2imgApiFields, ...scriptFields }
}

/**
 * 55 fields for txt2img and 57 for img2img in A1111 1.10.1; Forge adds its own. They are in the order of the answer's
 * `parameters`.
 */
export function generationModel (mode: Mode, flavor: 'a1111' | 'forge' | 'sdnext'): Model {
  const fields = Object.entries(fieldsOf[mode]).filter(([, field]) => flavor === 'forge' || factsOf(field).only !== 'forge')
  return Object.fromEntries(inOrder(fields).map(([name, field]) => {
    const { hasTexts, isStrict, isFallbackWhole, isImage, fallback = null, img2imgFallback = fallback } = factsOf(field)
    const kind = hasTexts === true ? 'strings' : kinds[String(field.type)] ?? 'any'
    const ofMode = mode === 'img2img' ? img2imgFallback : fallback
    const ofFlavor = flavor === 'sdnext' ? sdnextFallbacks[name] ?? ofMode : ofMode
    const read = isStrict === true ? strict(kind, ofFlavor) : optional(kind, ofFlavor)
    return [name, {
      ...read,
      ...(isFallbackWhole === true ? { isFallbackWhole } : {}),
      ...(isImage === true && kind === 'string' ? { isImage } : {})
    }]
  }))
}

type NamedField = readonly [name: string, field: TSchema]

function inOrder (fields: readonly NamedField[]): NamedField[] {
  const behind = ([, field]: NamedField) => factsOf(field).behind
  const ordered = fields.filter(field => behind(field) === undefined)
  for (const field of fields) {
    const at = ordered.findIndex(([name]) => name === behind(field))
    if (at !== -1) ordered.splice(at + 1, 0, field)
  }
  return ordered
}
