import MiniSearch from 'minisearch'
import { bareName } from '../a1111/names.ts'
import type { Model } from './model.ts'

export interface ModelSearch {
  /** The models that a text means, best first; empty text finds all in their order. */
  find (text: string): readonly Model[]
}

/** What of a model is searched, as text. */
interface Words {
  readonly name: string
  readonly filename: string
  readonly alias: string
  readonly tags: readonly string[]
  readonly triggers: readonly string[]
  readonly description: string
}

/** Longer descriptions are searched up to here, in letters. */
const searchedDescription = 600
const fields = ['name', 'filename', 'alias', 'tags', 'triggers', 'description'] as const

/**
 * Search as its clients know it, and more: what contains the text whole comes first, by the scores that mobile clients
 * were made for; then what has the words in any order, misspelled or only begun.
 */
export function createModelSearch (models: readonly Model[]): ModelSearch {
  let index: MiniSearch | null = null
  let all: ReadonlyArray<{ readonly model: Model, readonly words: Words }> = []

  /** Made when it is first needed, as most lists are never searched. */
  function indexed (): MiniSearch {
    if (index !== null) return index
    all = models.map(model => ({ model, words: wordsOf(model) }))
    index = new MiniSearch({
      idField: 'id',
      fields: [...fields],
      tokenize: text => text.toLowerCase().split(/[^\p{Letter}\p{Number}]+/u).filter(Boolean),
      searchOptions: {
        boost: { name: 5, filename: 4, alias: 4, tags: 2.5, triggers: 1.5 },
        prefix: term => term.length > 1,
        fuzzy: term => term.length > 3 ? 0.25 : false,
        combineWith: 'AND'
      }
    })
    index.addAll(all.map(({ model, words }) => ({
      ...words, id: model.id, tags: words.tags.join(' '), triggers: words.triggers.join(' ')
    })))
    return index
  }

  return {
    find (text) {
      const wanted = text.trim().toLowerCase()
      if (wanted === '') return models
      const search = indexed()
      const whole = all
        .map(({ model, words }) => ({ model, score: containedScore(words, wanted) }))
        .filter(({ score }) => score > 0)
        .sort((one, other) => other.score - one.score)
        .map(({ model }) => model)
      const found = new Set(whole.map(({ id }) => id))
      const byId = new Map(models.map(model => [model.id, model]))
      const similar = search.search(wanted).flatMap(({ id }) => found.has(Number(id)) ? [] : byId.get(Number(id)) ?? [])
      return [...whole, ...similar]
    }
  }
}

/** The scores of the mobile clients' contract: where the text as a whole is contained counts. */
function containedScore (words: Words, wanted: string): number {
  const has = (text: string) => text.toLowerCase().includes(wanted)
  return (has(words.name) || has(words.alias) ? 10 : 0) + (has(words.filename) ? 8 : 0) +
    5 * words.tags.filter(has).length + 3 * words.triggers.filter(has).length + (has(words.description) ? 2 : 0)
}

function wordsOf ({ facts, filename, path, reported }: Model): Words {
  return {
    name: facts.name ?? bareName(filename),
    filename: path,
    alias: [...new Set(reported.flatMap(({ alias }) => alias ?? []))].join(' '),
    tags: facts.tags,
    triggers: facts.triggerWords,
    description: (facts.description ?? '').replace(/<[^>]*>/g, ' ').slice(0, searchedDescription)
  }
}
