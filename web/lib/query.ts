/**
 * A query string from values; leaves empty ones out.
 */
export function queryOf (values: Readonly<Record<string, string | number | boolean | null | undefined>>) {
  return new URLSearchParams(Object.entries(values).flatMap(([name, value]) =>
    value === undefined || value === null || value === '' ? [] : [[name, String(value)]]))
}
