/** A JSON string or number. */
const stringOrNumber = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g

/**
 * Like JSON.parse, but returns whole numbers beyond 2^53, such as seeds of 64 bits, as text: these pages only show them
 * and send them back, and the service accepts both.
 */
export function parseExactly (text: string): unknown {
  if (!/\d{16}/.test(text)) return JSON.parse(text)
  return JSON.parse(text.replace(stringOrNumber, token =>
    /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token))
}

/** @param text digits or a decimal @returns text if a number would lose digits */
export function numberOf (text: string): number | string {
  const number = Number(text)
  return Number.isInteger(number) && !Number.isSafeInteger(number) ? text.trim() : number
}
