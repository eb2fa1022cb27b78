import type { StruckFaults } from '../faults/faults.ts'
import type { GenerationRequest } from '../generation/request.ts'
import type { ServerProcess } from '../server-process.ts'
import { dividePrompt, keywords, type Box } from './divide.ts'

/** What the extension makes of one generation. */
export interface RegionalPrompter {
  /** What it writes into the infotext; empty where it did not get that far. */
  readonly extraParameters: Readonly<Record<string, unknown>>
  /** Where what of a prompt is drawn; null for the whole picture. */
  regionsOf (prompt: string): ReadonlyArray<{ readonly box: Box, readonly prompt: string }> | null
}

/** Title in the lists of scripts; matched in any case. */
export const regionalPrompterTitle = 'Regional Prompter'

/** What the inputs of the user interface hold, which take the place of arguments that a request leaves out. */
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
 * Runs the extension over a request. It checks nothing: whatever it trips over, A1111 reports to the console and draws
 * one picture out of the whole prompt, with status 200.
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

/** Null where the extension trips over an argument, or divides by something else than the matrix. */
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
