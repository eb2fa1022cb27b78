import { baseModelOf } from './base-models.ts'
import { factSources, type FactSource, type ModelFacts } from './model.ts'

export const noFacts: ModelFacts = {
  name: null,
  baseModel: null,
  description: null,
  notes: null,
  tags: [],
  triggerWords: [],
  weight: null,
  nsfw: null,
  civitai: null,
  training: null
}

export type FactsBySource = Readonly<Partial<Record<FactSource, ModelFacts>>>

/**
 * What all sources say together: of each field the first that says anything, a person before Civitai before the
 * file itself. Tags are gathered from all.
 */
export function mergeFacts (bySource: FactsBySource): ModelFacts {
  const known = factSources.flatMap(source => bySource[source] ?? [])
  const first = <Name extends keyof ModelFacts>(name: Name): ModelFacts[Name] =>
    known.find(facts => !isNothing(facts[name]))?.[name] ?? noFacts[name]
  return {
    name: first('name'),
    baseModel: finestBase(known.flatMap(({ baseModel }) => baseModel ?? [])),
    description: first('description'),
    notes: first('notes'),
    tags: [...new Set(known.flatMap(({ tags }) => tags))],
    triggerWords: first('triggerWords'),
    weight: first('weight'),
    nsfw: first('nsfw'),
    civitai: first('civitai'),
    training: first('training') ?? null
  }
}

/** Forge's list of base models is coarse, so that one who chose there could not say which SDXL it is. */
const coarse = /^sd ?(?:1|2|xl)$/i

/** The first word, unless it is a coarse one and another makes it finer. */
function finestBase (words: readonly string[]): string | null {
  const [first = null] = words
  if (first === null || !coarse.test(first.trim())) return first
  const known = baseModelOf(first)
  return words.find(word => {
    const other = baseModelOf(word)
    return !coarse.test(word.trim()) && other?.family === known?.family && other?.name !== known?.name
  }) ?? first
}

/** Sources that say anything, from the one believed first. */
export function sourcesOf (bySource: FactsBySource): FactSource[] {
  return factSources.filter(source => !saysNothing(bySource[source] ?? {}))
}

export function saysNothing (facts: Readonly<Partial<ModelFacts>>): boolean {
  return Object.values(facts).every(isNothing)
}

function isNothing (value: unknown): boolean {
  return value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
}
