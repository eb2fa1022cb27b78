import { GenerationParameters } from '../../schemas/generation-parameters.ts'
import { unknownFieldCode } from '../../src/a1111/unknown-fields.ts'
import { renamed, ServiceError } from '../../src/lib/errors.ts'

/** Where clients of this interface put generation parameters; `src/` uses each parameter's own name. */
const home = 'generation_params'

/** Facts about a request that decide where its parameters were. */
export interface SentParameters {
  readonly body: object & { readonly generation_info_raw?: unknown }
  /** Whether it came as a form, where parameters can be beside the other fields. */
  readonly isForm: boolean
}

/** The client's dotted name of a field: parameters are in `generation_params`. */
export function fieldName (field: string): string {
  return isParameter(field) ? `${home}.${field}` : field
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

function fieldSent (field: string, { body, isForm }: SentParameters): string {
  const [name = ''] = field.split('.')
  const own = Reflect.get(body, home) as unknown
  const isInside = typeof own === 'object' && own !== null && name in own
  if (isForm && !isInside && name in body) return field
  if (isInside) return `${home}.${field}`
  const fromText = typeof body.generation_info_raw === 'string' && body.generation_info_raw.trim() !== ''
  return fromText && !isInside && isParameter(field) ? 'generation_info_raw' : fieldName(field)
}

function isParameter (field: string): boolean {
  const [name = ''] = field.split('.')
  return name !== 'generation_info_raw' && Object.hasOwn(GenerationParameters.properties, name)
}

/** Warnings with the field names of this interface's clients. */
export function namingWarnings<Warned extends { readonly code: string, readonly field?: string }> (
  warnings: readonly Warned[]
): Warned[] {
  // An unknown field keeps its reported place, also if a parameter has its name.
  return warnings.map(warning => warning.field === undefined || warning.code === unknownFieldCode
    ? warning
    : { ...warning, field: fieldName(warning.field) })
}
