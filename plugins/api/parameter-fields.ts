import { isDeepStrictEqual } from 'node:util'
import { GenerationParameters } from '../../schemas/generation-parameters.ts'
import { canonicalName, understood } from '../../src/a1111/aliases.ts'
import { isUnset } from '../../src/a1111/field-values.ts'
import { unknownFieldCode } from '../../src/a1111/unknown-fields.ts'
import { renamed, ServiceError } from '../../src/lib/errors.ts'

/** Where clients of this interface put generation parameters; `src/` uses each parameter's own name. */
const home = 'generation_params'

/** The body of a request, whose parameters can be in `generation_params` or beside it. */
export type SentParameters = object & { readonly generation_info_raw?: unknown, readonly generation_params?: unknown }

/** The client's dotted name of a field: parameters are in `generation_params`. */
export function fieldName (field: string): string {
  return isParameter(field) ? `${home}.${field}` : field
}

/**
 * The parameters of a request from both places; undefined for none.
 * @param beside those that stand beside `generation_params`
 * @throws ServiceError `invalid_field_value` for two values of one parameter
 */
export function mergedParameters (
  inside: GenerationParameters | null | undefined, beside: GenerationParameters
): GenerationParameters | undefined {
  if (Object.keys(beside).length === 0) return inside ?? undefined
  const set = Object.entries(beside).filter(([, value]) => !isUnset(value))
  const own = Object.entries(inside ?? {}).filter(([, value]) => !isUnset(value))
  for (const [name, value] of set) {
    const other = own.find(([known, known2]) => canonicalName(known) === canonicalName(name) && !isSame(value, known2))
    if (other === undefined) continue
    throw new ServiceError('invalid_field_value',
      `${name} and ${home}.${other[0]} have two values; send one of them.`, { field: name })
  }
  return { ...inside, ...beside, ...Object.fromEntries(own) }
}

/** Whether two values mean the same; a form has only text. */
function isSame (one: unknown, other: unknown): boolean {
  return isDeepStrictEqual(one, other) || (typeof other !== 'object' && String(one) === String(other))
}

/** The same for the errors of one request, in that request's terms. */
export async function namingFields<Result> (sent: SentParameters, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof ServiceError) || error.details.field === undefined) throw error
    const { field: known, fields } = error.details
    const field = fieldSent(known, sent)
    // What stands in a text has no other name there.
    const named = field.endsWith(known) ? field : known
    const several = Array.isArray(fields)
      ? { fields: (fields as Array<{ field: string }>).map(one => ({ ...one, field: fieldSent(one.field, sent) })) }
      : {}
    throw renamed(error, { field, ...several }, named)
  }
}

function fieldSent (field: string, sent: SentParameters): string {
  const [name = ''] = field.split('.')
  if (isInside(name, sent)) return `${home}.${field}`
  if (Object.hasOwn(sent, name)) return field
  const fromText = typeof sent.generation_info_raw === 'string' && sent.generation_info_raw.trim() !== ''
  return fromText && isParameter(field) ? 'generation_info_raw' : fieldName(field)
}

function isInside (name: string, { generation_params: own }: SentParameters): boolean {
  return typeof own === 'object' && own !== null && name in own
}

/** Whether a field beside `generation_params` is a parameter. */
export function isParameterName (name: string): boolean {
  return isParameter(name) || understood.has(name)
}

function isParameter (field: string): boolean {
  const [name = ''] = field.split('.')
  return name !== 'generation_info_raw' && Object.hasOwn(GenerationParameters.properties, name)
}

/**
 * Warnings with the field names of this interface's clients.
 * @param sent the request that they answer, if it is at hand
 */
export function namingWarnings<Warned extends { readonly code: string, readonly field?: string }> (
  warnings: readonly Warned[], sent: SentParameters = {}
): Warned[] {
  return warnings.map(warning => {
    const { code, field } = warning
    // An unknown field keeps its reported place, also if a parameter has its name.
    if (field === undefined || code === unknownFieldCode) return warning
    const [name = ''] = field.split('.')
    return Object.hasOwn(sent, name) && !isInside(name, sent) ? warning : { ...warning, field: fieldName(field) }
  })
}
