import { withoutLeading } from '../../lib/text.ts'

/** The parts of an infotext; a size `AxB` is split into two parameters with -1 and -2 behind their names. */
export interface Infotext {
  readonly prompt: string
  readonly negativePrompt: string
  readonly parameters: Readonly<Record<string, string>>
}

type Pair = readonly [name: string, value: string]

const nameSign = /[\w \-/]/
const blank = /\s/

/**
 * The pairs that A1111's pattern `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)` finds in a line. Read by hand,
 * since the pattern takes the square of the line's length.
 */
function * pairsOf (line: string): Generator<Pair> {
  let from = 0
  for (;;) {
    const colon = line.indexOf(':', from)
    if (colon === -1) return
    let start = colon
    while (start > from && nameSign.test(line.charAt(start - 1))) start--
    const name = withoutLeading(line.slice(start, colon), ' -/')
    from = colon + 1
    if (name.length < 2) continue
    while (from < line.length && blank.test(line.charAt(from))) from++
    const end = endOfQuoted(line, from) ?? endOfPlain(line, from)
    yield [name, line.slice(from, end)]
    from = end + 1
  }
}

function endOfPlain (line: string, start: number): number {
  const comma = line.indexOf(',', start)
  return comma === -1 ? line.length : comma
}

/** Where a text in quotes ends that begins here and has a comma or nothing behind it; null for anything else. */
function endOfQuoted (line: string, start: number): number | null {
  if (line[start] !== '"') return null
  let at = start + 1
  while (at < line.length && line[at] !== '"') at += line[at] === '\\' ? 2 : 1
  const isWhole = at < line.length && at > start + 1 && (at + 1 === line.length || line[at + 1] === ',')
  return isWhole ? at + 1 : null
}

/** Reads an infotext the way A1111's "paste" button does. */
export function readInfotext (text: string): Infotext {
  const lines = text.trim().split('\n')
  const last = lines.at(-1) ?? ''
  const hasParameters = [...pairsOf(last)].length >= 3
  const words = hasParameters ? lines.slice(0, -1) : lines
  const negativeAt = words.findIndex(line => line.startsWith('Negative prompt:'))
  const promptLines = negativeAt === -1 ? words : words.slice(0, negativeAt)
  const negativeLines = negativeAt === -1 ? [] : words.slice(negativeAt)
  return {
    prompt: promptLines.join('\n').trim(),
    negativePrompt: negativeLines.join('\n').replace(/^Negative prompt:/, '').trim(),
    parameters: hasParameters ? readParameters(last) : {}
  }
}

function readParameters (line: string): Record<string, string> {
  const parameters: Record<string, string> = {}
  for (const [name, raw] of pairsOf(line)) {
    const value = unquote(raw.trim())
    const size = /^(\d+)x(\d+)$/.exec(value)
    if (size === null) parameters[name] = value
    else Object.assign(parameters, { [`${name}-1`]: size[1], [`${name}-2`]: size[2] })
  }
  return parameters
}

function unquote (value: string): string {
  if (!value.startsWith('"')) return value
  try {
    const text: unknown = JSON.parse(value)
    return typeof text === 'string' ? text : value
  } catch {
    return value
  }
}
