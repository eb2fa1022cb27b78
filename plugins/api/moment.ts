import { ServiceError } from '../../src/errors.ts'

/**
 * The moment of a parameter in milliseconds since the epoch. The format also admits leap seconds, which are no moments
 * to JavaScript.
 * @param field name of the parameter, for the error
 */
export function momentOf (field: string, text: string): number {
  const moment = Date.parse(text)
  if (!Number.isNaN(moment)) return moment
  throw new ServiceError('invalid_field_value', `${field} must be a moment such as 2026-11-21T09:30:00Z.`, { field })
}
