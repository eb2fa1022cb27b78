/** What is wrong with a text that is not JSON, and where; `position` counts characters from 0. */
export interface JsonFault {
  readonly position: number
  readonly line: number
  readonly column: number
  /** In words, such as `a comma or ]`. */
  readonly expected: string
}

const words = {
  value: 'a value',
  'value or ]': 'a value or ]',
  'name or }': 'a name in double quotes or }',
  name: 'a name in double quotes',
  colon: 'a colon',
  'comma or }': 'a comma or }',
  'comma or ]': 'a comma or ]',
  end: 'the end of the text'
} as const

type Expected = keyof typeof words

const space = /[ \t\r\n]*/y
const scalar = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const escape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y

/** The first place where a text stops being JSON (RFC 8259); null for JSON. `JSON.parse` does not always tell. */
export function findJsonFault (text: string): JsonFault | null {
  const open: Array<'}' | ']'> = []
  let expected: Expected = 'value'
  let position = 0

  const match = (pattern: RegExp) => {
    pattern.lastIndex = position
    return pattern.exec(text)?.[0].length ?? 0
  }
  const fault = (at: number, wanted: string): JsonFault => {
    const before = text.slice(0, at)
    const lineStart = before.lastIndexOf('\n') + 1
    return { position: at, line: before.split('\n').length, column: at - lineStart + 1, expected: wanted }
  }
  const afterValue = (): Expected => {
    const last = open.at(-1)
    return last === undefined ? 'end' : `comma or ${last}`
  }

  while (true) {
    position += match(space)
    const sign = text[position]
    if (sign === undefined) return expected === 'end' ? null : fault(position, words[expected])
    if (sign === '"' && (expected.startsWith('value') || expected.startsWith('name'))) {
      const string = stringAt(text, position)
      if (string.fault !== null) return fault(string.end, string.fault)
      position = string.end
      expected = expected.startsWith('name') ? 'colon' : afterValue()
    } else if (expected.startsWith('value') && (sign === '{' || sign === '[')) {
      open.push(sign === '{' ? '}' : ']')
      expected = sign === '{' ? 'name or }' : 'value or ]'
      position++
    } else if (expected.endsWith(` ${sign}`) && (sign === '}' || sign === ']')) {
      open.pop()
      expected = afterValue()
      position++
    } else if (sign === ',' && expected.startsWith('comma')) {
      expected = open.at(-1) === '}' ? 'name' : 'value'
      position++
    } else if (sign === ':' && expected === 'colon') {
      expected = 'value'
      position++
    } else {
      const length = expected.startsWith('value') ? match(scalar) : 0
      if (length === 0) return fault(position, words[expected])
      position += length
      expected = afterValue()
    }
  }
}

/** Where the string that begins here ends, or where and how it goes wrong. */
function stringAt (text: string, start: number): { end: number, fault: string | null } {
  let position = start + 1
  while (position < text.length) {
    const code = text.charCodeAt(position)
    if (code === 0x22) return { end: position + 1, fault: null }
    if (code < 0x20) return { end: position, fault: 'no raw control character inside a string; write \\n or \\u0000' }
    if (code === 0x5c) {
      escape.lastIndex = position
      const length = escape.exec(text)?.[0].length ?? 0
      if (length === 0) return { end: position, fault: 'an escape that JSON knows; a backslash itself is written \\\\' }
      position += length
    } else position++
  }
  return { end: position, fault: 'the quote that ends a string' }
}
