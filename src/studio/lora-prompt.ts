import { loraNames } from '../a1111/lora-tags.ts'
import { bareName } from '../a1111/names.ts'

/** File name and weight. */
export type WeightedLora = readonly [filename: string, weight: number]

/**
 * Tags for LoRAs that the prompt does not name itself: A1111 adds the weights of two equal tags. A tag names a LoRA
 * without folder and ending; weights are written as Python writes them, `1.0` for 1.
 */
export function loraTags (prompt: string, loras: readonly WeightedLora[]): string {
  const named = new Set(loraNames(prompt).map(name => bareName(name).toLowerCase()))
  return loras
    .filter(([filename]) => !named.has(bareName(filename).toLowerCase()))
    .map(([filename, weight]) => `<lora:${bareName(filename)}:${Number.isInteger(weight) ? weight.toFixed(1) : weight}>`)
    .join(' ')
}

/**
 * The LoRAs that are remembered, then those of the request, whose weights go first. Each once, however it is written:
 * of two entries the later one counts.
 */
export function mergedLoras (own: readonly WeightedLora[], remembered: readonly WeightedLora[]): WeightedLora[] {
  const byName = new Map<string, WeightedLora>()
  for (const lora of [...remembered, ...own]) {
    const name = bareName(lora[0]).toLowerCase()
    byName.delete(name)
    byName.set(name, lora)
  }
  return [...byName.values()]
}
