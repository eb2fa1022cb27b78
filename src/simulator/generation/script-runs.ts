import { textsOf } from '../../a1111/json-values.ts'
import { PythonError } from '../failures.ts'
import type { GenerationRequest } from './request.ts'

/** What a selectable script makes of one request: a prompt for each picture, and whether a grid comes first. */
export interface ScriptRun {
  readonly prompts: readonly string[]
  /** What is added to the first seed for each prompt. */
  readonly seedOffsets: readonly number[]
  readonly hasGrid: boolean
  /** Whether the pictures themselves come, and not only their grid. */
  readonly hasPictures: boolean
}

/**
 * The scripts that multiply a request; null for every other script, which then changes nothing. They are why an answer
 * may hold more images than `batch_size` × `n_iter`, or fewer.
 */
export function runScript (request: GenerationRequest, prompt: string): ScriptRun | null {
  const name = request.script_name?.toLowerCase()
  if (name === 'x/y/z plot') return plot(prompt, request)
  if (name === 'prompt matrix') return promptMatrix(prompt, request.script_args)
  if (name === 'prompts from file or textbox') return promptLines(prompt, request.script_args)
  return null
}

/** Where "Prompt S/R" stands among the axes of A1111's list for txt2img, and of Forge's. */
const searchAxes: readonly unknown[] = [7, 8]

/** Place of "Include Sub Images" among the plot's arguments. */
const includesPictures = 10

/** The values are only counted, but what the plot trips over most often is there. */
function plot (prompt: string, { negative_prompt: negative, script_args: given }: GenerationRequest): ScriptRun {
  for (const at of [0, 3, 6]) {
    const [first = ''] = String(given[at + 1] ?? '').split(',').map(part => part.trim())
    if (!searchAxes.includes(given[at]) || first === '' || `${prompt} ${negative ?? ''}`.includes(first)) continue
    throw new PythonError('RuntimeError', `Prompt S/R did not find ${first} in prompt or negative prompt.`)
  }
  const counts = [0, 3, 6].map(at => given[at] === 0 || given[at] === undefined
    ? 1
    : Math.max(String(given[at + 1] ?? '').split(',').length, textsOf(given[at + 2]).length))
  const cells = counts.reduce((product, count) => product * count, 1)
  return {
    prompts: new Array<string>(cells).fill(prompt),
    seedOffsets: new Array<number>(cells).fill(0),
    hasGrid: true,
    hasPictures: given[includesPictures] !== false
  }
}

/** `fixed|one|two`: every combination of the parts behind the first bar, and a grid of them all. */
function promptMatrix (
  prompt: string, [isPutFirst, isSeedVaried, kind = 'positive', delimiter = 'comma']: readonly unknown[]
): ScriptRun {
  if (kind !== 'positive' && kind !== 'negative') throw new PythonError('ValueError', `Unknown prompt type ${String(kind)}`)
  if (delimiter !== 'comma' && delimiter !== 'space') {
    throw new PythonError('ValueError', `Unknown variations delimiter ${String(delimiter)}`)
  }
  const [fixed = '', ...parts] = prompt.split('|').map(part => part.trim())
  const prompts = Array.from({ length: 2 ** parts.length }, (_, combination) => {
    const chosen = parts.filter((_part, bit) => (combination >> bit) % 2 === 1)
    return (isPutFirst === true ? [...chosen, fixed] : [fixed, ...chosen]).join(', ')
  })
  const seedOffsets = prompts.map((_, index) => isSeedVaried === true ? index : 0)
  return { prompts, seedOffsets, hasGrid: true, hasPictures: true }
}

/** One generation for each line that is not empty, with the request's own prompt before or behind it. */
function promptLines (prompt: string, [isSeedIterated, , where, text]: readonly unknown[]): ScriptRun {
  const lines = String(text ?? '').split('\n').map(line => line.trim()).filter(line => line !== '')
  const prompts = (lines.length > 0 ? lines : ['']).map(line => {
    const parts = where === 'end' ? [line, prompt] : [prompt, line]
    return parts.filter(part => part !== '').join(' ')
  })
  const seedOffsets = prompts.map((_, index) => isSeedIterated === true ? index : 0)
  return { prompts, seedOffsets, hasGrid: false, hasPictures: true }
}
