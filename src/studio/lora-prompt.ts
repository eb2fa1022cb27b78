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

/** The LoRAs that are remembered, then those of the request, whose weights go first. */
export function mergedLoras (own: readonly WeightedLora[], remembered: readonly WeightedLora[]): WeightedLora[] {
  const names = new Set(own.map(([filename]) => bareName(filename).toLowerCase()))
  return [...remembered.filter(([filename]) => !names.has(bareName(filename).toLowerCase())), ...own]
}
