import { isRecord } from '../a1111/field-values.ts'
import { ValidationFailure } from '../simulator/failures.ts'
import { pydantic2 } from '../simulator/wire/pydantic2.ts'
import { readPythonLiteral } from './python-literal.ts'
import { validationDetail } from './read-fields.ts'

type Fields = Record<string, unknown>

/** Parts of a form that may hold a file, and whether several may come under the name. */
export const studioFiles: Readonly<Record<string, 'one' | 'many'>> = {
  image: 'many',
  images: 'many',
  mask: 'one',
  init_image: 'one',
  ...Object.fromEntries(Array.from({ length: 10 }, (_, index) =>
    [[`image${index}`, 'one'], [`image[${index}]`, 'one'], [`images[${index}]`, 'one']] as const).flat())
}

/** Fields that hold lists and objects, which a form can only carry as text. */
const structured = new Set([
  'controlnet_units', 'units', 'regional_config', 'loras', 'override_settings', 'alwayson_scripts', 'script_args', 'styles',
  'images', 'base_request', 'variations', 'axes', 'config', 'enhance',
  'metadata', 'webhookEvents', 'webhook_events'
])
const mayBeEmpty = new Set(['prompt', 'negative_prompt'])

/**
 * What a form says, as a JSON client would have said it: a part called `request` holds the fields as one JSON object,
 * over which the other parts go; lists and objects may be JSON or Python; empty parts say nothing.
 * @throws ValidationFailure for a part `request` that is no object
 */
export function formFields (form: Fields): Fields {
  const { request, ...flat } = form
  const whole = request === '' ? {} : literal(request)
  if (request !== undefined && !isRecord(whole)) {
    throw new ValidationFailure([validationDetail(['body', 'request'], request, pydantic2.notAnObject(request))])
  }
  const given = Object.entries(flat).filter(([name, value]) => value !== '' || mayBeEmpty.has(name))
    .map(([name, value]) => [name, structured.has(name) ? structure(value) : value])
  return { ...(isRecord(whole) ? whole : {}), ...Object.fromEntries(given) as Fields }
}

/** Other names of fields under the usual one, one unit as a list of one, several images under one name as a list. */
export function withUsualNames ({ units, ...fields }: Fields): Fields {
  const renamed = Object.fromEntries(Object.entries(fields).map(([name, value]) =>
    [name.replace(/^images?\[(\d)\]$/, 'image$1'), value])) as Fields
  const { image, images, controlnet_units: own = units } = renamed
  const several = Array.isArray(image) ? image as unknown[] : []
  return {
    ...renamed,
    ...(several.length === 0 ? {} : { image: several[0] }),
    ...(several.length > 1 && images === undefined ? { images: several } : {}),
    ...(own === undefined ? {} : { controlnet_units: isRecord(own) ? [own] : own })
  }
}

/** A part may come once with the whole list, or once for each entry. */
function structure (value: unknown): unknown {
  if (!Array.isArray(value)) return literal(value)
  return (value as unknown[]).map(literal).flat()
}

function literal (value: unknown): unknown {
  if (typeof value !== 'string') return value
  const read = readPythonLiteral(value)
  return read === undefined ? value : read
}
