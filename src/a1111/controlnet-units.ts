import { definedOnly, invalidField, isRecord } from './field-values.ts'

type Unit = Readonly<Record<string, unknown>>

/** What stands for a choice: its number in old versions, and its words in present ones. */
const choices: Readonly<Record<string, readonly string[]>> = {
  control_mode: ['Balanced', 'My prompt is more important', 'ControlNet is more important'],
  resize_mode: ['Just Resize', 'Crop and Resize', 'Resize and Fill'],
  hr_option: ['Both', 'Low res only', 'High res only']
}

/** Words of older versions for resizing. */
const oldWords: Readonly<Record<string, string>> = {
  'inner fit (scale to fit)': 'Crop and Resize',
  'scale to fit (inner fit)': 'Crop and Resize',
  'outer fit (shrink to fit)': 'Resize and Fill',
  'envelope (outer fit)': 'Resize and Fill'
}

/**
 * A unit in the words that A1111's extension (from 1.1.448 on) and Forge have in common, however a client writes it.
 * A1111 fails the whole request for a number in place of a word; Forge takes it for the first choice, and neither sees
 * a picture in `input_image` nor a mask in `mask`.
 * @throws ServiceError `invalid_field_value` naming what no version takes
 */
export function commonUnit (unit: Unit, field: string): Record<string, unknown> {
  const { input_image: old, mask, lowvram, image: given, mask_image: maskImage, ...others } = unit
  const { image, mask: inside } = pictureAndMask(given ?? old)
  const chosen = Object.fromEntries(Object.keys(choices).map(name => [name, choiceOf(name, unit[name], field)]))
  checkGuidance(unit, field)
  return definedOnly({
    ...others,
    ...chosen,
    enabled: unit.enabled !== false,
    image: image ?? undefined,
    mask_image: maskImage ?? mask ?? inside ?? undefined,
    low_vram: unit.low_vram ?? lowvram
  })
}

/** A picture alone, `{ image, mask }` or `[image, mask]`; a list of several such stays, as only A1111 knows it. */
function pictureAndMask (given: unknown): { image: unknown, mask: unknown } {
  if (isRecord(given) && 'image' in given) return { image: given.image, mask: given.mask }
  if (Array.isArray(given) && given.length <= 2 && given.every(one => !isRecord(one) || !('image' in one))) {
    const [image, mask] = given as readonly unknown[]
    return { image, mask }
  }
  return { image: given, mask: undefined }
}

function choiceOf (name: string, value: unknown, field: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  const words = choices[name] ?? []
  const text = String(value).trim().toLowerCase()
  const found = /^\d$/.test(text)
    ? words[Number(text)]
    : words.find(word => word.toLowerCase() === text) ?? (name === 'resize_mode' ? oldWords[text] : undefined)
  if (found !== undefined) return found
  throw invalidField(`${field}.${name}`, `${name} is one of ${words.map(word => `"${word}"`).join(', ')}, or its number from 0.`)
}

function checkGuidance ({ guidance_start: start, guidance_end: end, weight }: Unit, field: string): void {
  const within = (name: string, value: unknown, most: number) => {
    if (value === undefined || (typeof value === 'number' && value >= 0 && value <= most)) return
    throw invalidField(`${field}.${name}`, `${name} is a number from 0 to ${most}.`)
  }
  within('weight', weight, 2)
  within('guidance_start', start, 1)
  within('guidance_end', end, 1)
  if (typeof start === 'number' && typeof end === 'number' && start > end) {
    throw invalidField(`${field}.guidance_start`, 'guidance_start must not be greater than guidance_end.')
  }
}
