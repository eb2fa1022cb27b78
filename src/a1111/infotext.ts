/** Generation parameters as A1111 writes them into an image, parsed. */
export interface Infotext {
  readonly prompt: string
  readonly negativePrompt: string
  /** The parameters after the prompts, by A1111's own labels such as `CFG scale`; without quotes. */
  readonly fields: ReadonlyMap<string, string>
}

type Pair = readonly [label: string, value: string]

/** One line as `label: value, label: value`. */
interface PairedLine {
  readonly pairs: readonly Pair[]
  /** Parts between commas that are not a pair. */
  readonly others: number
}

const negativeLabel = 'Negative prompt:'
const wholeNumber = /^[+-]?\d+$/
const number = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)$/
const sides = /^\d+\s*[x×]\s*\d+$/i
const hash = /^[0-9a-f]{8,64}$/i

/** Labels with checkable values, which show that a line holds parameters. Prompts have labels as well. */
const checkedLabels: ReadonlyMap<string, RegExp> = new Map([
  ...['Steps', 'Seed', 'Variation seed', 'Clip skip', 'Hires steps', 'ENSD', 'Mask blur', 'Masked area padding', 'Batch size']
    .map(label => [label, wholeNumber] as const),
  ...['CFG scale', 'Distilled CFG Scale', 'Image CFG scale', 'Denoising strength', 'Variation seed strength', 'Hires upscale',
    'Refiner switch at', 'Eta', 'Guidance'].map(label => [label, number] as const),
  ...['Size', 'Hires resize', 'First pass size', 'Seed resize from'].map(label => [label, sides] as const),
  ...['Model hash', 'VAE hash'].map(label => [label, hash] as const)
].map(([label, fitting]) => [label.toLowerCase(), fitting]))

/** Labels that any text fits; they only count beside one of the others. */
const looseLabels: ReadonlySet<string> = new Set([
  'sampler', 'schedule type', 'scheduler', 'model', 'vae', 'hires upscaler', 'version', 'rng', 'refiner', 'face restoration'
])

/** The Dynamic Prompts extension appends the templates of the prompts, each of any number of lines. */
const templateLine = /^(?:Negative )?Template:/

/**
 * Reads generation parameters: a prompt of any number of lines, a negative prompt likewise after `Negative prompt:`,
 * then `Steps: 20, Sampler: …`, with quotes (or, in Civitai's texts, brackets) around values with commas. Text without
 * parameters is all prompt.
 */
export function parseInfotext (text: string): Infotext {
  const lines = text.replace(/\r\n?/g, '\n').split('\n').map(line => line.trim())
  const start = firstParameterLine(lines)
  const prompts = { positive: [] as string[], negative: [] as string[] }
  let side: keyof typeof prompts = 'positive'
  for (const line of lines.slice(0, start)) {
    const isNegative = line.startsWith(negativeLabel)
    if (isNegative) side = 'negative'
    prompts[side].push(isNegative ? line.slice(negativeLabel.length).trim() : line)
  }
  return {
    prompt: prompts.positive.join('\n').trim(),
    negativePrompt: prompts.negative.join('\n').trim(),
    fields: fieldsIn(lines.slice(start))
  }
}

/** The text that `parseInfotext` reads, with A1111's quotes. */
export function writeInfotext ({ prompt, negativePrompt, fields }: Infotext): string {
  const quoted = (value: string) => /[,:\n]/.test(value) ? JSON.stringify(value) : value
  const parameters = [...fields].map(([label, value]) => `${label}: ${quoted(value)}`).join(', ')
  return [prompt, negativePrompt === '' ? '' : `${negativeLabel} ${negativePrompt}`, parameters]
    .filter((part, index) => part !== '' || index === 0).join('\n')
}

function firstParameterLine (lines: readonly string[]): number {
  const usual = lines.findLastIndex(line => line.startsWith('Steps:') && showsParameters(pairsOf(line), 1))
  if (usual !== -1) return usual
  const first = lines.findIndex(line => line.includes(':') && beginsWithFit(line) && showsParameters(pairsOf(line), 2))
  if (first !== -1) return first
  // one parameter a line
  const single = lines.findIndex(line => line.includes(':') && beginsWithFit(line))
  if (single === -1) return lines.length
  const below = lines.slice(single).filter(line => line !== '').map(pairsOf)
  const pairs = below.flatMap(line => line.pairs)
  const others = below.reduce((sum, line) => sum + line.others, 0)
  return showsParameters({ pairs, others }, 2) ? single : lines.length
}

function beginsWithFit (line: string): boolean {
  const [first] = pairsOf(line).pairs
  return first !== undefined && line.startsWith(first[0]) && (isChecked(first) || isLoose(first))
}

/** @param least labels that must have a valid value */
function showsParameters ({ pairs, others }: PairedLine, least: number): boolean {
  const checked = pairs.filter(isChecked).length
  return checked > 0 && checked + pairs.filter(isLoose).length >= least && others <= pairs.length
}

function isChecked ([label, value]: Pair): boolean {
  return checkedLabels.get(label.toLowerCase())?.test(value) ?? false
}

function isLoose ([label, value]: Pair): boolean {
  return value !== '' && looseLabels.has(label.toLowerCase())
}

/** The first line counts most; lines below it only add to it. */
function fieldsIn (lines: readonly string[]): Map<string, string> {
  const fields = new Map<string, string>()
  for (const line of lines) {
    if (templateLine.test(line)) break
    for (const [label, value] of new Map(pairsOf(line).pairs)) {
      if (!fields.has(label)) fields.set(label, value)
    }
  }
  return fields
}

function pairsOf (text: string): PairedLine {
  const pairs: Pair[] = []
  const endOfPart = createPartReader(text)
  let others = 0
  let start = 0
  while (start < text.length) {
    const end = endOfPart(start)
    const part = text.slice(start, end)
    const colon = part.indexOf(':')
    if (colon > 0) pairs.push([part.slice(0, colon).trim(), unquoted(part.slice(colon + 1).trim())])
    else if (part.trim() !== '') others += 1
    start = end + 1
  }
  return { pairs, others }
}

/** Looks for the end of brackets that never close; more would take the square of the text's length. */
const maxOpenBrackets = 16

/** Finds the comma that ends `label: value`, skipping commas in quoted or bracketed values. */
function createPartReader (text: string): (start: number) => number {
  let openBrackets = 0

  function endOfValue (opening: number, sign: string): number | null {
    if (sign === '"') return endOfQuote(text, opening)
    if (openBrackets >= maxOpenBrackets) return null
    const end = endOfBracket(text, opening)
    if (end === null) openBrackets += 1
    return end
  }

  return start => {
    const comma = text.indexOf(',', start)
    if (comma === -1) return text.length
    const opened = /^[^:]*:\s*(["[{])/.exec(text.slice(start, comma))
    if (opened === null) return comma
    const closing = endOfValue(start + opened[0].length - 1, opened[1] ?? '')
    if (closing === null) return comma
    const next = text.indexOf(',', closing)
    return next === -1 ? text.length : next
  }
}

/** Null if the text does not end there: A1111 then treats the quote like any other character. */
function endOfQuote (text: string, opening: number): number | null {
  let at = opening + 1
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  if (at >= text.length) return null
  let next = at + 1
  while (text[next] === ' ') next++
  return next >= text.length || text[next] === ',' ? at : null
}

function endOfBracket (text: string, opening: number): number | null {
  let depth = 0
  for (let index = opening; index < text.length; index++) {
    const sign = text[index]
    if (sign === '"') {
      do index += text[index] === '\\' ? 2 : 1
      while (index < text.length && text[index] !== '"')
    } else if (sign === '[' || sign === '{') depth++
    else if ((sign === ']' || sign === '}') && --depth === 0) return index
  }
  return null
}

function unquoted (value: string): string {
  if (!value.startsWith('"')) return value
  try {
    return String(JSON.parse(value))
  } catch {
    return value
  }
}
