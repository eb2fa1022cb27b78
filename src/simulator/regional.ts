import type { GenerationRequest } from '../a1111/request-model.ts'
import type { StruckFaults } from './faults/faults.ts'
import type { ServerProcess } from './server-process.ts'

/** A part of an image, in shares of its width and height. */
interface Box {
  readonly left: number
  readonly top: number
  readonly right: number
  readonly bottom: number
}

/** Parts of a prompt for the Regional Prompter. */
export interface DividedPrompt {
  /** In the order of the prompt; null if the extension does not divide the image. */
  readonly regions: ReadonlyArray<{ readonly box: Box, readonly prompt: string }> | null
  /** Drawn under all regions; null without one. */
  readonly base: string | null
}

export interface DivisionSettings {
  /** Main splitting; `Vertical` is the old name of `Rows`, `Horizontal` of `Columns`. */
  readonly matrixMode: string
  readonly ratios: string
  readonly useBase: boolean
  readonly useCommon: boolean
  readonly breakDivides: boolean
}

/** Words that the extension looks for anywhere in a prompt, also inside other words. */
export const keywords = ['ADDCOMM', 'ADDROW', 'ADDCOL', 'ADDBASE', 'ADDP', 'BREAK', 'AND'] as const

/** Divides an image as the extension's matrix does: the keywords give the number of regions, the ratios their sizes. */
export function dividePrompt (given: string, settings: DivisionSettings): DividedPrompt {
  const isRows = /Ver|Rows/.test(settings.matrixMode)
  const prompt = settings.breakDivides ? convertBreaks(given, settings, isRows) : given
  if (/ADDP/i.test(prompt)) return { regions: null, base: null }
  const [common, afterCommon] = cutAt(prompt, 'ADDCOMM')
  const [base, text] = cutAt(afterCommon, 'ADDBASE')
  const boxes = boxesOf(text, settings.ratios, isRows)
  const parts = text.split(/ADDCOL|ADDROW/).map(part => part.split('BREAK').join(' ').trim())
  const shared = common === null ? '' : `${common}, `
  return {
    regions: boxes.map((box, index) => ({ box, prompt: (shared + (parts[index] ?? '')).trim() })),
    base: base === null ? null : (shared + base).trim()
  }
}

function cutAt (text: string, keyword: string): [before: string | null, after: string] {
  const place = text.indexOf(keyword)
  return place === -1 ? [null, text] : [text.slice(0, place).trim(), text.slice(place + keyword.length)]
}

/** Each BREAK becomes the keyword whose turn it is: common, base, then the separators that the ratios call for. */
function convertBreaks (prompt: string, { ratios, useBase, useCommon }: DivisionSettings, isRows: boolean): string {
  const [inner, outer] = isRows ? ['ADDROW', 'ADDCOL'] : ['ADDCOL', 'ADDROW']
  const [outerSign, innerSign] = isRows ? [',', ';'] : [';', ',']
  const lines = ratios.includes(';')
    ? ratios.split(outerSign).map(line => Math.max(1, line.split(innerSign).length - 1))
    : [ratios.split(',').length]
  const separators = lines.flatMap((count, line) =>
    [...line === 0 ? [] : [outer], ...new Array<string>(count - 1).fill(inner)])
  const turns = [
    ...useCommon && !prompt.includes('ADDCOMM') ? ['ADDCOMM'] : [],
    ...useBase && !prompt.includes('ADDBASE') ? ['ADDBASE'] : [],
    ...separators
  ]
  return turns.reduce((text, keyword) => text.replace('BREAK', keyword), prompt)
}

function boxesOf (text: string, ratios: string, isRows: boolean): Box[] {
  const hasColumns = /ADDCOL/i.test(text)
  const hasRows = /ADDROW/i.test(text)
  const [outerKey, innerKey] = isRows ? ['ADDCOL', 'ADDROW'] : ['ADDROW', 'ADDCOL']
  const [outerSign, innerSign] = isRows ? [',', ';'] : [';', ',']
  const counts = hasColumns || hasRows
    ? text.split(outerKey).map(line => line.split(innerKey).length)
    : ratios.split(outerSign).map(line => Math.max(1, line.split(innerSign).length - 1))
  const isOneLine = !ratios.includes(';') && hasRows !== hasColumns
  // one kind of keyword and commas only: the keyword decides over the direction, whatever the mode says
  const signs = !isOneLine
    ? { outer: outerSign, inner: innerSign, ratios }
    : hasRows === isRows ? { outer: ';', inner: ',', ratios: `1,${ratios}` } : { outer: ',', inner: ';', ratios }
  const { heads, cells } = fillRatios(signs.ratios, signs.outer, signs.inner, counts)
  return spans(heads).flatMap(([from, to], line) => spans(cells[line] ?? [1]).map(([start, end]) => isRows
    ? { left: from, right: to, top: start, bottom: end }
    : { left: start, right: end, top: from, bottom: to }))
}

/**
 * The ratios put over the lines and cells that the keywords make: the first number of a line is its own; a short line
 * repeats its last number, a long one runs over into the next, and the rest is dropped.
 */
function fillRatios (
  ratios: string, outer: string, inner: string, counts: readonly number[]
): { heads: number[], cells: number[][] } {
  const heads: number[] = []
  const cells: number[][] = []
  let last = 1
  for (const line of ratios.split(outer)) {
    let values = line.split(inner).map(readRatio)
    last = values.at(-1) ?? 1
    for (let isDone = false; !isDone && cells.length < counts.length;) {
      const count = counts[cells.length] ?? 1
      heads.push(values[0] ?? 1)
      if (values.length > 1) values = values.slice(1)
      isDone = count >= values.length
      cells.push(Array.from({ length: count }, (_, index) => values[Math.min(index, values.length - 1)] ?? 1))
      values = values.slice(count)
    }
  }
  while (cells.length < counts.length) cells.push(new Array<number>(counts[cells.length] ?? 1).fill(last))
  while (heads.length < counts.length) heads.push(heads.at(-1) ?? 1)
  return { heads, cells }
}

function readRatio (text: string): number {
  const number = Number(text)
  return text.trim() === '' || !Number.isFinite(number) ? 1 : number
}

/** Neighbouring spans from 0 to 1, each as long as its share. */
function spans (shares: readonly number[]): Array<[from: number, to: number]> {
  const sum = shares.reduce((total, share) => total + share, 0)
  let before = 0
  return shares.map(share => {
    const from = before / sum
    before += share
    return [from, before / sum]
  })
}

/** The extension's work in one generation. */
export interface RegionalPrompter {
  /** Its infotext entries; empty if it failed before. */
  readonly extraParameters: Readonly<Record<string, unknown>>
  /** Region of each part of a prompt; null for the whole image. */
  regionsOf (prompt: string): ReadonlyArray<{ readonly box: Box, readonly prompt: string }> | null
}

/** Title in the lists of scripts; matched in any case. */
export const regionalPrompterTitle = 'Regional Prompter'

/** Values of the user interface's inputs, which replace missing arguments of a request. */
export const defaultArguments: readonly unknown[] = [
  false, false, 'Matrix', 'Columns', 'Mask', 'Prompt', '1,1', '0.2', false, false, false, 'Attention', [], '0', '0',
  0.4, null, '0', '0', false
]

/** Names under which the arguments from the tab on go into the infotext. */
const parameterNames = [
  'Divide mode', 'Matrix submode', 'Mask submode', 'Prompt submode', 'Ratios', 'Base Ratios', 'Use Base', 'Use Common',
  'Use Ncommon', 'Calc Mode', 'Options', 'LoRA Neg Te Ratios', 'LoRA Neg U Ratios', 'threshold', null,
  'LoRA Stop Step', 'LoRA Hires Stop Step', 'Flip'
]

const knownOptions = [
  "disable convert 'AND' to 'BREAK'", 'Use LoHa or other', 'Use BREAK to change chunks', 'Flip prompts',
  'Comment Out `#`', 'debug', 'debug2'
]

const idle: RegionalPrompter = { extraParameters: {}, regionsOf: () => null }

/**
 * Runs the extension over a request. It checks nothing: A1111 reports its failures to the console and generates one
 * image from the whole prompt, with status 200.
 */
export function runRegionalPrompter (
  { machine }: ServerProcess, request: GenerationRequest, faults: StruckFaults
): RegionalPrompter {
  if (!machine.settings.regionalPrompter || faults.has('script-error')) return idle
  const args = readArguments(request)
  if (args === null || args[0] !== true) return idle
  const prompt = request.prompt ?? ''
  const options = readOptions(args[12])
  // anything but a list, a text or a flag breaks it before it has written anything
  if (options === null || !keywords.some(keyword => prompt.includes(keyword))) return idle
  const values = args.slice(2).map((value, index) => index === 10 ? options.join(',') : value)
  const extraParameters = {
    'RP Active': true,
    ...Object.fromEntries(parameterNames.flatMap((name, index) => name === null ? [] : [[`RP ${name}`, values[index]]]))
  }
  return { extraParameters, regionsOf: createDivision(args, options) ?? idle.regionsOf }
}

/** Null if the extension fails on an argument, or divides by something else than the matrix. */
function createDivision (args: readonly unknown[], options: readonly string[]): RegionalPrompter['regionsOf'] | null {
  const [, , tab, matrixMode, , , ratios, , useBase, useCommon, , calcMode] = args
  const flip = args[19] === true
  const stops = [args[17], args[18]]
  const isUsable = typeof ratios === 'string' && typeof matrixMode === 'string' && typeof calcMode === 'string' &&
    stops.every(stop => /^\d*$/.test(String(stop).trim()))
  if (!isUsable || !(tab === 'Matrix' || tab === 'Nope')) return null
  const settings = {
    matrixMode,
    ratios: flip ? ratios.replace(/[,;]/g, sign => sign === ',' ? ';' : ',') : ratios,
    useBase: useBase === true,
    useCommon: useCommon === true,
    breakDivides: !options.includes('Use BREAK to change chunks')
  }
  const andDivides = !options.includes("disable convert 'AND' to 'BREAK'")
  return prompt => dividePrompt(andDivides ? prompt.replaceAll('AND', 'BREAK') : prompt, settings).regions
}

function readArguments (request: GenerationRequest): readonly unknown[] | null {
  const entry = Object.entries(request.alwayson_scripts)
    .find(([title]) => title.toLowerCase() === regionalPrompterTitle.toLowerCase())
  const script = entry?.[1]
  if (typeof script !== 'object' || script === null || !('args' in script) || !Array.isArray(script.args)) return null
  const given: readonly unknown[] = script.args
  return defaultArguments.map((value, index) => index < given.length ? given[index] : value)
}

function readOptions (value: unknown): string[] | null {
  if (typeof value === 'boolean') return value ? knownOptions.slice(0, 1) : []
  const list: unknown = typeof value === 'string' ? value.split(',') : value
  return Array.isArray(list) ? knownOptions.filter(option => list.includes(option)) : null
}
