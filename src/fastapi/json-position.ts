/** Where and why a text stops being JSON, in the words of Python's decoder. */
export interface JsonMistake {
  readonly message: string
  readonly position: number
  readonly line: number
  readonly column: number
}

interface Mistake { readonly message: string, readonly position: number }

/** Where reading continues, or the mistake that stopped it. */
type Step = number | Mistake

/**
 * Finds the first mistake in a text that `JSON.parse` rejects. V8's own message has no position for short texts and
 * changes with its version; therefore this reader exists. It keeps no values.
 */
export function locateJsonMistake (text: string): JsonMistake {
  const end = readValue(text, skipSpace(text, 0))
  const { message, position } = typeof end === 'number'
    ? { message: 'Extra data', position: skipSpace(text, end) }
    : end
  const before = text.slice(0, position)
  return { message, position, line: before.split('\n').length, column: position - before.lastIndexOf('\n') }
}

function skipSpace (text: string, at: number): number {
  while (at < text.length && ' \t\n\r'.includes(text[at] as string)) at += 1
  return at
}

function readValue (text: string, at: number): Step {
  if (text[at] === '"') return readText(text, at)
  if (text[at] === '{') return readMembers(text, at, '}', readMember)
  if (text[at] === '[') return readMembers(text, at, ']', readValue)
  const scalar = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|NaN|-?Infinity)/.exec(text.slice(at))
  return scalar === null ? { message: 'Expecting value', position: at } : at + scalar[0].length
}

function readMembers (text: string, start: number, close: string, readOne: typeof readValue): Step {
  let at = skipSpace(text, start + 1)
  if (text[at] === close) return at + 1
  for (;;) {
    const end = readOne(text, at)
    if (typeof end !== 'number') return end
    at = skipSpace(text, end)
    if (text[at] === close) return at + 1
    if (text[at] !== ',') return { message: "Expecting ',' delimiter", position: at }
    at = skipSpace(text, at + 1)
  }
}

function readMember (text: string, at: number): Step {
  if (text[at] !== '"') return { message: 'Expecting property name enclosed in double quotes', position: at }
  const end = readText(text, at)
  if (typeof end !== 'number') return end
  const colon = skipSpace(text, end)
  if (text[colon] !== ':') return { message: "Expecting ':' delimiter", position: colon }
  return readValue(text, skipSpace(text, colon + 1))
}

function readText (text: string, start: number): Step {
  for (let at = start + 1; at < text.length; at += 1) {
    const character = text[at] as string
    if (character === '"') return at + 1
    if (character < ' ') return { message: 'Invalid control character at', position: at }
    if (character !== '\\') continue
    at += 1
    if (text[at] === 'u' && !/^[0-9a-fA-F]{4}$/.test(text.slice(at + 1, at + 5))) {
      return { message: 'Invalid \\uXXXX escape', position: at }
    }
    if (!'"\\/bfnrtu'.includes(text[at] ?? ' ')) return { message: 'Invalid \\escape', position: at - 1 }
  }
  return { message: 'Unterminated string starting at', position: start }
}
