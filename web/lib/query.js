/**
 * A query string from values; leaves empty ones out.
 * @param {Record<string, string | number | undefined>} values
 */
export function queryOf (values) {
  return new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined && value !== ''))
}
