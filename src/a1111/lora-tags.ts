import { bareName } from './names.ts'
import { invalidField, isRecord, isUnset } from './field-values.ts'

/** A LoRA that a client names beside the prompt. */
export interface LoraRequest {
  readonly name: string
  /** As A1111 writes it after the name; usually 0 to 2. */
  readonly weight: number
}

/** `<lora:name:weight>`, or `lyco` as older prompts have it; more values may follow the weight. */
const tag = /<(lora|lyco):([^:<>]+)((?::[^<>]*)?)>/gi
/** Signs of wildcard extensions, which fill in the name only at the server. */
const filledInLater = /__|[{}|$]/

/** Names in the tags of a prompt, each once, except those that the server fills in only later. */
export function loraNames (prompt: string): string[] {
  if (!prompt.includes('<')) return []
  const names = new Set<string>()
  tag.lastIndex = 0
  // `matchAll` would copy the expression at each call.
  for (let match = tag.exec(prompt); match !== null; match = tag.exec(prompt)) {
    const name = (match[2] ?? '').trim()
    if (!filledInLater.test(name)) names.add(name)
  }
  return [...names]
}

/** The prompt as A1111's own script Comments (since 1.9) leaves it: `#` hides the rest of its line. */
export function withoutComments (prompt: string): string {
  return prompt.replace(/#[^\n]*/g, '')
}

/** The prompt with other names in its tags; a name that becomes null takes its tag with it. */
export function renameLoras (prompt: string, newName: ReadonlyMap<string, string | null>): string {
  const renamed = prompt.replace(tag, (whole: string, word: string, name: string, rest: string) => {
    const other = newName.get(name.trim())
    return other === undefined ? whole : other === null ? '' : `<${word}:${other}${rest}>`
  })
  return [...newName.values()].includes(null) ? renamed.trim() : renamed
}

/** The prompt without any tag, and the contents of the tags. */
export function separateLoras (prompt: string): { prompt: string, loras: LoraRequest[] } {
  const loras = [...prompt.matchAll(tag)].map(match => {
    const weight = Number.parseFloat((match[3] ?? '').slice(1))
    return { name: (match[2] ?? '').trim(), weight: Number.isFinite(weight) ? weight : 1 }
  })
  return { prompt: prompt.replace(tag, '').trim(), loras }
}

/** The prompt with a tag for each LoRA that it does not name yet: A1111 would add the weights of two equal tags. */
export function withLoras (prompt: string, loras: readonly LoraRequest[]): string {
  if (loras.length === 0) return prompt
  const present = new Set(loraNames(prompt).map(name => bareName(name).toLowerCase()))
  const tags = loras
    .filter(({ name }) => !present.has(bareName(name).toLowerCase()))
    .map(({ name, weight }) => `<lora:${bareName(name)}:${weight}>`)
  // after a comment they would be a part of it
  const isCommented = tags.length > 0 && prompt.slice(prompt.lastIndexOf('\n') + 1).includes('#')
  return [isCommented ? `${prompt}\n` : prompt, ...tags].filter(part => part !== '').join(' ')
}

/**
 * LoRAs as clients list them: names, objects with a name and a weight, or one object of weights by name.
 * @throws ServiceError `invalid_field_value`
 */
export function readLoras (field: string, given: unknown): LoraRequest[] {
  if (isUnset(given)) return []
  if (typeof given === 'string') return [loraOf(field, given, 1)]
  if (isRecord(given)) return Object.entries(given).map(([name, weight]) => loraOf(`${field}.${name}`, name, weight))
  if (!Array.isArray(given)) throw invalidField(field, place => `${place} must be a list of LoRAs.`)
  return given.map((entry: unknown, index) => {
    const place = `${field}.${index}`
    if (!isRecord(entry)) return loraOf(place, entry, 1)
    const name = entry.name ?? entry.filename ?? entry.path ?? entry.model
    return loraOf(place, name, entry.weight ?? entry.strength ?? entry.multiplier ?? 1)
  })
}

function loraOf (field: string, name: unknown, weight: unknown): LoraRequest {
  const number = typeof weight === 'string' && weight.trim() !== '' ? Number(weight) : weight
  if (typeof name !== 'string' || bareName(name) === '' || /[:<>]/.test(bareName(name))) {
    throw invalidField(field, place => `${place} must name a LoRA, without the signs : < >.`)
  }
  if (typeof number !== 'number' || !(Math.abs(number) <= 10)) {
    throw invalidField(field, `The weight of the LoRA "${name}" must be a number from -10 to 10.`)
  }
  return { name, weight: number }
}
