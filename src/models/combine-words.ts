import { textOf, type JsonObject } from '../a1111/json-values.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { mergeFacts, noFacts } from './facts.ts'
import type { MemberChanges } from './json-members.ts'
import type { ModelFacts } from './model.ts'
import { wordsOf } from './sidecars.ts'

/** What persons wrote beside several equal files, together: no word is lost, and none is there twice. */
export function combinedPerson (facts: readonly ModelFacts[]): ModelFacts {
  const first = facts.reduce((one, other) => mergeFacts({ person: one, civitai: other }), noFacts)
  return {
    ...first,
    notes: facts.reduce<string | null>((one, { notes }) => combinedText(one, notes), null),
    triggerWords: [...new Set(facts.flatMap(({ triggerWords }) => triggerWords))]
  }
}

function combinedText (one: string | null, other: string | null): string | null {
  if (other === null || one?.includes(other) === true) return one
  return one === null || other.includes(one) ? other : `${one}\n\n${other}`
}

/** Members whose texts are put together where two files have different ones. */
const texts = ['notes', 'description']

/**
 * The changes to one sidecar that let nothing of another of its kind be lost. Of what cannot be put together the
 * present value stays, and the other is written down in the notes.
 * @param from where the other lies, for the notes
 */
export function combinedMembers (
  present: JsonObject, other: JsonObject, from: string, notesBefore: string | null = textOf(present.notes)
): { readonly changes: MemberChanges, readonly notes: string | null } {
  const changes: Record<string, unknown> = {}
  let notes = notesBefore
  for (const [member, value] of Object.entries(other)) {
    const before = present[member]
    if (isNothing(value) || stringifyJson(before) === stringifyJson(value)) continue
    if (member === 'notes' && typeof value === 'string') {
      notes = combinedText(notes, value)
    } else if (isNothing(before)) {
      changes[member] = value
    } else if (texts.includes(member) && typeof before === 'string' && typeof value === 'string') {
      const both = combinedText(before, value)
      if (both !== before) changes[member] = both
    } else if (member === 'activation text' && typeof before === 'string' && typeof value === 'string') {
      const both = [...new Set([...wordsOf(before), ...wordsOf(value)])].join(', ')
      if (both !== before) changes[member] = both
    } else {
      const said = typeof value === 'string' ? value : stringifyJson(value)
      notes = combinedText(notes, `${member} beside ${from}: ${said}`)
    }
  }
  return { changes, notes }
}

/** What the forms of Forge and LoRA Manager write where nobody said anything. */
function isNothing (value: unknown): boolean {
  return value === undefined || value === null || value === '' || value === 'Unknown' || value === 0 ||
    (Array.isArray(value) && value.length === 0) ||
    (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
}
