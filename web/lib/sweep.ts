import type { CreateForm } from './generation.ts'
import { numberOf } from './exact-json.ts'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/create.ts'

/** Several values of some parameters: one job for each combination. */

/** One parameter, and the values as the user typed them. */
export interface Sweep {
  readonly name: string
  readonly text: string
}

export const sweepable: Readonly<Record<string, string>> = {
  steps: common.steps,
  cfg_scale: common.cfgScale,
  sampler_name: common.sampler,
  scheduler: common.scheduler,
  checkpoint_name: common.checkpoint,
  seed: common.seed,
  denoising_strength: common.denoising,
  clip_skip: t.clipSkip,
  width: t.width,
  height: t.height,
  prompt: t.wordInPrompt
}

/** Most jobs that one click submits. */
export const mostJobs = 100

/** Highest seed that A1111 itself chooses. */
const highestSeed = 4_294_967_293

/** @param text values with commas between; `20-30:5` is 20, 25, 30 */
export function valuesOf (text: string) {
  return text.split(',').map(part => part.trim()).filter(part => part !== '').flatMap(part => {
    const [, from, to, by = '1'] = /^(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)(?::(\d+(?:\.\d+)?))?$/.exec(part) ?? []
    if (from === undefined || to === undefined || Number(by) === 0 || Number(to) < Number(from)) return [part]
    if (![from, to, by].some(value => value.includes('.')) && typeof numberOf(to) === 'string') return longRange(from, to, by)
    const count = Math.min(mostJobs, Math.floor((Number(to) - Number(from)) / Number(by) + 1e-9)) + 1
    const valueAt = (index: number) => Math.round((Number(from) + index * Number(by)) * 1e6) / 1e6
    return Array.from({ length: count }, (_, index) => String(valueAt(index)))
  })
}

/** Seeds of 64 bits. */
function longRange (from: string, to: string, by: string) {
  const count = (BigInt(to) - BigInt(from)) / BigInt(by) + 1n
  return Array.from({ length: Number(count > mostJobs ? mostJobs + 1 : count) }, (_, index) =>
    String(BigInt(from) + BigInt(index) * BigInt(by)))
}

/**
 * @returns one for each job; a single empty one if nothing varies
 */
export function combinationsOf (sweeps: readonly Sweep[]) {
  return sweeps
    .map(({ name, text }) => ({ name, values: valuesOf(text) }))
    .filter(({ values }) => values.length > 0)
    .reduce((before, { name, values }) => before.flatMap(one => values.map(value => ({ ...one, [name]: value }))), [{}])
}

/**
 * The form for one combination. For words of the prompt, each value replaces the first one, which the prompt contains.
 */
export function applied (
  form: CreateForm, { prompt: word, ...values }: Readonly<Record<string, string>>, sweeps: readonly Sweep[]
): CreateForm {
  const changed = { ...form, ...values }
  if (word === undefined) return changed
  const first = valuesOf(sweeps.find(({ name }) => name === 'prompt')?.text ?? '')[0] ?? ''
  return { ...changed, prompt: form.prompt.replaceAll(first, word) }
}

/** One seed for all jobs of a sweep, so that they do not differ in it. */
export function sharedSeed (form: { seed: string }) {
  return form.seed === '' || Number(form.seed) < 0 ? String(Math.floor(Math.random() * highestSeed)) : form.seed
}

/** The values of a combination in words. */
export function labelOf (combination: Readonly<Record<string, string>>) {
  return Object.entries(combination).map(([name, value]) => name === 'prompt' ? value : `${sweepable[name]} ${value}`).join(', ')
}
