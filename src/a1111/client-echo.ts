import { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { isRecord } from './field-values.ts'

/** Longest name or value that is given back, and all of them together, in characters of JSON. */
const longestField = 1000
const longestEcho = 8192

/** A1111's own names, and those under which views show the prompt and the checkpoint that was found. */
const ours: ReadonlySet<string> = new Set([...Object.keys(A1111Parameters.properties), 'positive_prompt', 'checkpoint_name'])

/**
 * What clients sent under names that are not A1111's, such as `num_images`, `style_preset` or an identifier of their
 * own: they look for it in the job again. What is long, such as an image, is left out.
 */
export function clientEcho (given: unknown): Record<string, unknown> {
  if (!isRecord(given)) return {}
  const echo: Record<string, unknown> = {}
  let left = longestEcho
  for (const [name, value] of Object.entries(given)) {
    if (ours.has(name) || (typeof value === 'string' && value.length > longestField)) continue
    const characters = name.length + stringifyJson(value ?? null).length
    if (characters > longestField || characters > left) continue
    left -= characters
    echo[name] = value
  }
  return echo
}
