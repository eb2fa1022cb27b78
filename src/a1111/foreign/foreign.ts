import { fieldsOf, type JsonObject, objectOf } from '../../lib/json-values.ts'
import { parseJson } from '../../lib/json.ts'
import type { Infotext } from '../infotext.ts'
import { bareName } from '../names.ts'

/** Another program's text about an image, in A1111's words. */
export interface ForeignText {
  /** The program's common name. */
  readonly source: string
  readonly infotext: Infotext
  /** Parts without a counterpart here, one sentence each. */
  readonly notes: readonly string[]
}

/** A LoRA as programs list them beside the prompt. */
export interface ForeignLora {
  readonly name: string
  readonly weight: unknown
}

export interface ForeignValues {
  readonly prompt: unknown
  readonly negativePrompt?: unknown
  readonly loras?: readonly ForeignLora[]
  /** By A1111's labels; only texts and numbers are included. */
  readonly fields: Readonly<Record<string, unknown>>
  readonly notes?: readonly string[]
}

export function foreignText (
  source: string, { prompt, negativePrompt, loras = [], fields, notes = [] }: ForeignValues
): ForeignText {
  const entries = Object.entries(fields).flatMap(([label, value]) => {
    const text = written(value)
    return text === '' ? [] : [[label, text] as const]
  })
  return {
    source,
    infotext: {
      prompt: withLoraTags(written(prompt), loras),
      negativePrompt: written(negativePrompt),
      fields: new Map(entries)
    },
    notes
  }
}

/** Text and numbers as text; nothing for anything else, so that no JSON lands in a prompt. */
export function written (value: unknown): string {
  if (typeof value === 'string') return value.trim()
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : ''
}

function withLoraTags (prompt: string, loras: readonly ForeignLora[]): string {
  const tags = loras
    .map(({ name, weight }) => ({ name: bareName(name), weight: written(weight) || '1' }))
    .filter(({ name }) => name !== '' && !prompt.includes(`<lora:${name}:`))
    .map(({ name, weight }) => `<lora:${name}:${weight}>`)
  return [...prompt === '' ? [] : [prompt], ...new Set(tags)].join(' ')
}

/** `512x768`, or nothing if a side is missing. */
export function sizeText (width: unknown, height: unknown): string {
  const [wide, high] = [written(width), written(height)]
  return wide === '' || high === '' ? '' : `${wide}x${high}`
}

const bounds = { depth: 64, values: 200_000 }
/** Numbers that Python writes but JSON does not know, and strings, which are skipped. */
const pythonNumbers = /"(?:[^"\\]|\\.)*"|\bNaN\b|-?\bInfinity\b/g

/** The object in a JSON text; null for anything else. */
export function jsonObject (text: string | undefined): JsonObject | null {
  if (text === undefined || !/^\s*\{/.test(text)) return null
  const read = parsed(text)
  return read ?? (/\b(?:NaN|Infinity)\b/.test(text)
    ? parsed(text.replace(pythonNumbers, found => found.startsWith('"') ? found : 'null'))
    : null)
}

function parsed (text: string): JsonObject | null {
  try {
    return objectOf(parseJson('The text', Buffer.from(text), bounds))
  } catch {
    return null
  }
}

/** Whether a text is meant for programs: no prompt begins like a JSON object or list of objects. */
export function looksLikeJson (text: string): boolean {
  return /^\s*(?:\[\s*)?\{\s*(?:"[^"]*"\s*:|\})/.test(text)
}

/** A field that programs write as an object or as the JSON text of one. */
export function nested (value: unknown): JsonObject {
  return typeof value === 'string' ? jsonObject(value) ?? {} : fieldsOf(value)
}

/** Names of samplers in ComfyUI and its kin (comfy/samplers.py), and A1111's (sd_samplers_kdiffusion.py). */
const samplers: Readonly<Record<string, string>> = {
  euler: 'Euler',
  euler_ancestral: 'Euler a',
  euler_a: 'Euler a',
  heun: 'Heun',
  dpm_2: 'DPM2',
  dpm_2_ancestral: 'DPM2 a',
  dpm_2_a: 'DPM2 a',
  kdpm_2: 'DPM2',
  kdpm_2_a: 'DPM2 a',
  lms: 'LMS',
  dpm_fast: 'DPM fast',
  dpm_adaptive: 'DPM adaptive',
  dpmpp_2s: 'DPM++ 2S a',
  dpmpp_2s_ancestral: 'DPM++ 2S a',
  dpmpp_sde: 'DPM++ SDE',
  dpmpp_2m: 'DPM++ 2M',
  dpmpp_2m_sde: 'DPM++ 2M SDE',
  dpmpp_2m_sde_heun: 'DPM++ 2M SDE Heun',
  dpmpp_3m_sde: 'DPM++ 3M SDE',
  ddim: 'DDIM',
  ddim_v3: 'DDIM',
  plms: 'PLMS',
  ddpm: 'DDPM',
  lcm: 'LCM',
  uni_pc: 'UniPC',
  uni_pc_bh2: 'UniPC',
  unipc: 'UniPC'
}

/** The same for schedulers (A1111's sd_schedulers.py). */
const schedulers: Readonly<Record<string, string>> = {
  normal: 'Normal',
  karras: 'Karras',
  exponential: 'Exponential',
  polyexponential: 'Polyexponential',
  sgm_uniform: 'SGM Uniform',
  simple: 'Simple',
  ddim_uniform: 'DDIM',
  beta: 'Beta',
  kl_optimal: 'KL Optimal',
  align_your_steps: 'Align Your Steps',
  ays: 'Align Your Steps'
}

/** A1111's name of a sampler, whichever program named it; the name itself if A1111 has no such sampler. */
export function samplerOf (name: string): string {
  const plain = name.trim().toLowerCase().replace(/^(?:sample_)?k_/, '').replace(/_gpu$/, '')
  return Object.hasOwn(samplers, plain) ? samplers[plain] ?? name : name
}

export function schedulerOf (name: string): string {
  const plain = name.trim().toLowerCase()
  return Object.hasOwn(schedulers, plain) ? schedulers[plain] ?? name : name
}
