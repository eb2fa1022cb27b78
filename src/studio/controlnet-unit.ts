import type { StudioControlNetUnit } from '../../schemas/studio-generation.ts'
import { commonUnit } from '../a1111/controlnet-units.ts'
import { invalidField } from '../a1111/field-values.ts'

/** Pictures of the request itself, base64 or what stands for an upload. */
export interface RequestPictures {
  /** For every unit without its own. */
  readonly image?: string | null
  /** For the units in their order; those that are left out or null have the one above. */
  readonly images?: ReadonlyArray<string | null>
  /** For units whose preprocessor redraws a part. */
  readonly mask?: string | null
  /** Whether the request starts from a picture, which then serves a unit that has none. */
  readonly startsFromPicture?: boolean
}

/**
 * Units of a request as `alwayson_scripts.ControlNet.args`, those that are switched off left out. Names of models and
 * preprocessors, and thresholds that depend on them, are settled for each server by `withControlNet`.
 * @throws ServiceError `invalid_field_value` for a unit without any picture, or guidance that ends before it begins
 */
export function controlNetUnits (
  units: readonly StudioControlNetUnit[], pictures: RequestPictures, field = 'controlnet_units'
): Array<Record<string, unknown>> {
  return units.flatMap((unit, index) => unit.enabled ? [unitAt(unit, index, pictures, `${field}.${index}`)] : [])
}

function unitAt (unit: StudioControlNetUnit, index: number, pictures: RequestPictures, field: string) {
  const { preprocessor, image: own, mask: ownMask, resize_mode: resize, threshold_a: a, threshold_b: b, ...others } =
    unit
  const image = own ?? pictures.images?.[index] ?? pictures.image ?? null
  if (image === null && pictures.startsFromPicture !== true) {
    throw invalidField(`${field}.image`, `${field} needs an image: its own, the one at its place in images, or the image of the request.`)
  }
  const mask = ownMask ?? (/inpaint/i.test(preprocessor ?? '') ? pictures.mask ?? null : null)
  return commonUnit({
    ...others,
    module: preprocessor ?? 'none',
    resize_mode: resize ?? 'Crop and Resize',
    // behind the images of the answer they prove that it had an effect
    save_detected_map: true,
    ...(image === null ? {} : { image }),
    ...(mask === null ? {} : { mask_image: mask }),
    ...(a === null ? {} : { threshold_a: a }),
    ...(b === null ? {} : { threshold_b: b })
  }, field)
}
