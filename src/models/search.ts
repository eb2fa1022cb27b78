import { atOnce, inPieces, type Pieces } from '../lib/breaks.ts'
import { foldedText, withoutTags } from '../lib/text.ts'
import MiniSearch from 'minisearch'
import { bareName } from '../a1111/names.ts'
import type { Model } from '../model-facts/facts.ts'

export interface ModelSearch {
  /** The models that match a text, best first; empty text returns all in their order. */
  find (text: string): readonly Model[]
  /** Makes the first search as fast as the later ones, in the background. */
  prepare (): Promise<void>
}

/** The searched parts of a model, in lower case. */
export interface Words {
  readonly name: string
  readonly filename: string
  readonly alias: string
  readonly tags: readonly string[]
  readonly triggers: readonly string[]
  readonly description: string
}

/** Longer descriptions are searched up to here, in characters. */
const searchedDescription = 600
/** No name, tag or trigger is longer; comparing characters takes the square of the length. */
const longestWanted = 500
const longestMisspelled = 40
const fields = ['name', 'filename', 'alias', 'tags', 'triggers', 'description'] as const

/**
 * Search as its clients know it, and more: models that contain the whole text come first, by the scores that mobile
 * clients expect; then models that have the words in any order, misspelled or only begun.
 */
export function createModelSearch (models: readonly Model[]): ModelSearch {
  let index: Index | null = null

  function * build (): Pieces<void> {
    index = yield * indexOf(models)
  }

  /** Begun in the background; a search that comes earlier finishes it. */
  const building = build()

  function built (): Index {
    if (index === null) atOnce(building)
    return index ?? atOnce(indexOf(models))
  }

  return {
    find (text) {
      const wanted = foldedText(text.trim())
      if (wanted === '') return models
      if (wanted.length > longestWanted) return []
      const { entries, byId, similar } = built()
      const whole = entries
        .map(({ model, words }) => ({ model, score: containedScore(words, wanted) }))
        .filter(({ score }) => score > 0)
        .sort((one, other) => other.score - one.score)
        .map(({ model }) => model)
      const found = new Set(whole.map(({ id }) => id))
      const others = similar.search(wanted).flatMap(({ id }) => found.has(Number(id)) ? [] : byId.get(Number(id)) ?? [])
      return [...whole, ...others]
    },
    prepare: async () => { await inPieces(building) }
  }
}

interface Index {
  readonly entries: ReadonlyArray<{ readonly model: Model, readonly words: Words }>
  readonly byId: ReadonlyMap<number, Model>
  readonly similar: MiniSearch
}

function * indexOf (models: readonly Model[]): Pieces<Index> {
  const similar = new MiniSearch({
    idField: 'id',
    fields: [...fields],
    tokenize: text => text.split(/[^\p{Letter}\p{Number}]+/u).filter(Boolean),
    searchOptions: {
      boost: { name: 5, filename: 4, alias: 4, tags: 2.5, triggers: 1.5 },
      prefix: term => term.length > 1,
      fuzzy: term => term.length > 3 && term.length <= longestMisspelled ? 0.25 : false,
      combineWith: 'AND'
    }
  })
  const entries: Array<{ readonly model: Model, readonly words: Words }> = []
  for (const model of models) {
    const words = wordsOf(model)
    entries.push({ model, words })
    similar.add({ ...words, id: model.id, tags: words.tags.join(' '), triggers: words.triggers.join(' ') })
    yield
  }
  return { entries, byId: new Map(models.map(model => [model.id, model])), similar }
}

/** The scores of the mobile clients' contract: containing the whole text counts. */
export function containedScore (words: Words, wanted: string): number {
  const has = (text: string) => text.includes(wanted)
  return (has(words.name) || has(words.alias) ? 10 : 0) + (has(words.filename) ? 8 : 0) +
    5 * words.tags.filter(has).length + 3 * words.triggers.filter(has).length + (has(words.description) ? 2 : 0)
}

function wordsOf ({ facts, filename, path, reported }: Model): Words {
  const lower = foldedText
  return {
    name: lower(facts.name ?? bareName(filename)),
    filename: lower(path),
    alias: lower([...new Set(reported.flatMap(({ alias }) => alias ?? []))].join(' ')),
    tags: facts.tags.map(lower),
    triggers: facts.triggerWords.map(lower),
    description: lower(withoutTags(facts.description ?? '', ' ').slice(0, searchedDescription))
  }
}
