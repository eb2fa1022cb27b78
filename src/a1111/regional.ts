import type { A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import { ServiceError } from '../lib/errors.ts'
import type { ResolveName } from './resolve.ts'
import { isRecord } from './field-values.ts'
import { rulesOf } from './kinds/registry.ts'
import type { ServerTraits } from './types.ts'

/** Title under which the Regional Prompter accepts its arguments; servers ignore its case. */
export const regionalPrompter = 'Regional Prompter'

/** `<lora:name:weight>` and its like, which name a file of the server. */
export const networkTag = /<(?:lora|lyco|hypernet):([^:<>]+)(?::[^<>]*)?>/gi

/**
 * Words by which the extension divides a prompt, matched in any case in the positive prompt, also inside other words.
 */
export const signalWords = /add(?:p|col|row)/i
/** Those that it matches only in capitals. */
const capitalSignals = /ADDCOMM|ADDBASE|BREAK/
/** The same with `AND`, which becomes `BREAK` unless an option keeps it, and mixes prompts in A1111 itself. */
export const capitalWords = /ADD(?:P|COL|ROW|COMM|BASE)|BREAK|AND/

/** Whether the extension treats `AND` as its own keyword. */
export type AndMeaning = 'divides' | 'stays'

/** A keyword of the extension in a text that is not meant as one, such as a file name; null if there is none. */
export function signalIn (text: string, and: AndMeaning): string | null {
  const found = signalWords.exec(text) ?? capitalSignals.exec(text) ?? (and === 'divides' ? /AND/.exec(text) : null)
  return found?.[0] ?? null
}

/** Indexes of the extension's arguments that matter here. */
const place = { active: 0, tab: 2, useCommon: 9, calcMode: 11, options: 12 } as const
/** Its option that leaves `AND` unchanged; `true` instead of the list means the same. */
const andStays = "disable convert 'AND' to 'BREAK'"

const word = /[\p{L}\p{N}_]+/gu
const ownWords = new Set(['ADDCOMM', 'ADDBASE', 'ADDCOL', 'ADDROW', 'ADDP', 'BREAK', 'AND'])

interface Division {
  readonly isMatrix: boolean
  readonly usesCommon: boolean
  readonly isLatent: boolean
  readonly and: AndMeaning
}

/**
 * Removes unintended keywords of the Regional Prompter from the prompts. Runs after LoRAs have got the server's own
 * names, which can contain keywords too. If the extension is used, its keywords are the client's own and stay; likely
 * accidents cause a warning.
 * @throws ServiceError `invalid_field_value` for the name of a file, unless it can be omitted
 */
export function withRegions (
  given: A1111Parameters, traits: Pick<ServerTraits, 'kind' | 'simulates'>, resolve: ResolveName, warn: (warning: Warning) => void
): A1111Parameters {
  const division = divisionOf(given.alwayson_scripts)
  if (division === null) return given
  if (division.isLatent && !rulesOf(traits).dividesLatents) {
    warn({
      code: 'regional_latent_on_forge',
      message: 'The Regional Prompter knows Latent mode on Forge only in part; Attention mode is surer there.',
      field: `alwayson_scripts.${regionalPrompter}.args.${place.calcMode}`
    })
  }
  return (['prompt', 'hr_prompt'] as const).reduce((parameters, field) => {
    const prompt = parameters[field]
    if (typeof prompt !== 'string' || prompt === '') return parameters
    warnOfMultipliedLoras(prompt, field, division, warn)
    warnOfHiddenWords(prompt, field, division, warn)
    return { ...parameters, [field]: withoutSignals(prompt, field, division, resolve) }
  }, given)
}

/** Null if the extension is not requested or not switched on. */
function divisionOf (scripts: A1111Parameters['alwayson_scripts']): Division | null {
  const args = Object.entries(scripts ?? {}).flatMap(([title, script]) => {
    const isTheirs = title.toLowerCase() === regionalPrompter.toLowerCase() && isRecord(script)
    return isTheirs && Array.isArray(script.args) ? [script.args as unknown[]] : []
  })[0]
  if (args?.[place.active] !== true) return null
  const options = args[place.options]
  const list = typeof options === 'string' ? options.split(',') : options
  const isLatent = String(args[place.calcMode] ?? '').includes('La')
  return {
    isMatrix: args[place.tab] === undefined || args[place.tab] === 'Matrix',
    usesCommon: args[place.useCommon] === true,
    isLatent,
    and: !isLatent && (list === true || (Array.isArray(list) && list.includes(andStays))) ? 'stays' : 'divides'
  }
}

/** Text in the tag of a file is part of its name and cannot change. */
function withoutSignals (prompt: string, field: string, { and }: Division, resolve: ResolveName): string {
  return prompt.replace(networkTag, (tag: string, name: string) => {
    const signal = signalIn(tag, and)
    if (signal === null) return tag
    return resolve({
      wanted: name,
      field,
      code: 'invalid_field_value',
      noun: 'LoRA',
      find () { throw signalInName(name, signal, field) },
      candidates: () => []
    }) ?? ''
  }).trim()
}

/** @param field the input that names the file */
export function signalInName (name: string, signal: string, field: string): ServiceError {
  return new ServiceError('invalid_field_value', `The name ${name} contains "${signal}", which the Regional Prompter ` +
    'uses as a keyword. Rename the file to use it with regions.', { field })
}

/** The common part is copied into every region before A1111 reads tags, whose weights add up. */
function warnOfMultipliedLoras (
  prompt: string, field: string, { usesCommon, isLatent }: Division, warn: (warning: Warning) => void
): void {
  const end = prompt.indexOf(prompt.includes('ADDCOMM') ? 'ADDCOMM' : 'BREAK')
  if (isLatent || end === -1 || !(usesCommon || prompt.includes('ADDCOMM'))) return
  for (const [tag] of prompt.slice(0, end).matchAll(networkTag)) {
    warn({
      code: 'regional_lora_multiplied',
      message: `${tag} is in the part that all regions share, which the Regional Prompter copies into each of ` +
        'them, so it counts once for every region. At the end of the prompt it counts once.',
      field
    })
  }
}

/** Warns of its keywords inside other words, or in lower case: few people know that they count. */
function warnOfHiddenWords (
  prompt: string, field: string, { and, isMatrix }: Division, warn: (warning: Warning) => void
): void {
  const hidden = [...prompt.replace(networkTag, ' ').matchAll(word)].map(([found]) => found)
    .filter(found => !ownWords.has(found) || (found === 'ADDP' && isMatrix))
  for (const found of new Set(hidden)) {
    const signal = signalWords.exec(found)?.[0] ?? capitalWords.exec(found)?.[0]
    if (signal === undefined || (signal === 'AND' && and === 'stays')) continue
    warn({
      code: 'regional_keyword_hidden',
      message: `The Regional Prompter finds "${signal}" in "${found}" and uses it as a keyword.`,
      field
    })
  }
}
