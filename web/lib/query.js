/**
 * A query string out of values; empty ones are left out.
 * @param {Record<string, string | number | undefined>} values
 */
export function queryOf (values) {
  return new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined && value !== ''))
}
