import { stringifyJson } from '../../lib/exact-json.ts'
import type { Plan } from './plan.ts'

export interface UsedCheckpoint { readonly name: string, readonly hash: string }

/** The text that goes into an image and into `info.infotexts`: prompt, negative prompt, parameters. */
export function writeInfotext (
  plan: Plan, index: number, checkpoint: UsedCheckpoint,
  settings: { readonly marks: Readonly<Record<string, unknown>>, readonly version: string }
): string {
  const parameters: Record<string, unknown> = {
    Steps: plan.steps,
    Sampler: plan.sampler.name,
    'Schedule type': plan.schedulerLabel,
    'CFG scale': asFloat(plan.cfgScale),
    Seed: plan.seeds[index],
    Size: `${plan.width}x${plan.height}`,
    'Model hash': checkpoint.hash,
    Model: checkpoint.name,
    'Variation seed': plan.subseedStrength === 0 ? null : plan.subseeds[index],
    'Variation seed strength': plan.subseedStrength === 0 ? null : plan.subseedStrength,
    'Denoising strength': plan.extraParameters['Denoising strength'],
    ...settings.marks,
    ...plan.extraParameters,
    'Hires upscale': asFloat(plan.extraParameters['Hires upscale']),
    Version: settings.version
  }
  const line = Object.entries(parameters)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name}: ${quote(pythonText(value))}`)
    .join(', ')
  const negative = plan.negativePrompts[index]
  return [plan.prompts[index], negative ? `Negative prompt: ${negative}` : '', line]
    .filter(part => part !== '')
    .join('\n')
    .trim()
}

/** Python prints a float with its fraction, even when there is none. */
function asFloat (value: unknown): unknown {
  return typeof value === 'number' && Number.isInteger(value) ? value.toFixed(1) : value
}

function pythonText (value: unknown): string {
  return typeof value === 'boolean' ? (value ? 'True' : 'False') : String(value)
}

function quote (value: string): string {
  return /[,\n:]/.test(value) ? stringifyJson(value) : value
}
