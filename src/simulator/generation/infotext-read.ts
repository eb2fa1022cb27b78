/** The parts of an infotext; a size `AxB` is split into two parameters with -1 and -2 behind their names. */
export interface Infotext {
  readonly prompt: string
  readonly negativePrompt: string
  readonly parameters: Readonly<Record<string, string>>
}

const parameterPattern = /\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g

/** Reads an infotext the way A1111's "paste" button does. */
export function readInfotext (text: string): Infotext {
  const lines = text.trim().split('\n')
  const last = lines.at(-1) ?? ''
  const hasParameters = [...last.matchAll(parameterPattern)].length >= 3
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
  for (const [, name, raw] of line.matchAll(parameterPattern)) {
    if (name === undefined || raw === undefined) continue
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
