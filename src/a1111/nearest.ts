import { folded, splitHash, withForwardSlashes, withoutEnding } from './names.ts'

/** Below this likeness (0 to 1) a name would only mislead. */
const leastLikeness = 0.3
/** Names are compared up to here; beyond it edit distance costs more than it tells. */
const comparedLength = 120

/**
 * Those candidates that somebody who wrote `wanted` may have meant, likeliest first.
 * @param count most that are given
 * @param least likeness (0 to 1) that a name must have
 */
export function nearest (
  wanted: string, candidates: readonly string[], count = 3, least = leastLikeness
): string[] {
  const target = comparable(wanted)
  return candidates
    .map(candidate => ({ candidate, likeness: likeness(target, comparable(candidate)) }))
    .filter(({ likeness }) => likeness >= least)
    .sort((one, other) => other.likeness - one.likeness || one.candidate.localeCompare(other.candidate))
    .slice(0, count)
    .map(({ candidate }) => candidate)
}

interface Comparable {
  readonly text: string
  readonly tokens: ReadonlySet<string>
}

function comparable (name: string): Comparable {
  const plain = withoutEnding(splitHash(withForwardSlashes(name.slice(0, 2 * comparedLength)), 1).name)
  const tokens = plain.toLowerCase().split(/[^\p{Letter}\p{Number}]+/u).filter(Boolean)
  return { text: folded(plain).slice(0, comparedLength), tokens: new Set(tokens) }
}

function likeness (one: Comparable, other: Comparable): number {
  const longest = Math.max(one.text.length, other.text.length)
  if (longest === 0) return 0
  const byEdits = 1 - editDistance(one.text, other.text) / longest
  const shared = [...one.tokens].filter(token => other.tokens.has(token)).length
  const byTokens = 0.9 * shared / Math.max(one.tokens.size, other.tokens.size, 1)
  return Math.max(byEdits, byTokens, byPart(one.text, other.text))
}

/** One name inside the other, as people leave out versions; better the more of it is there. */
function byPart (one: string, other: string): number {
  const [short, long] = one.length <= other.length ? [one, other] : [other, one]
  if (short.length < 3 || !long.includes(short)) return 0
  return (long.startsWith(short) ? 0.5 : 0.35) + 0.5 * short.length / long.length
}

/** Least number of letters added, taken away or exchanged, or neighbours swapped, that makes one text the other. */
function editDistance (one: string, other: string): number {
  let beforePrevious: number[] = []
  let previous = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (let row = 1; row <= one.length; row++) {
    const current = [row]
    for (let column = 1; column <= other.length; column++) {
      const exchange = (previous[column - 1] ?? 0) + (one[row - 1] === other[column - 1] ? 0 : 1)
      const isSwap = row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      const swap = isSwap ? (beforePrevious[column - 2] ?? 0) + 1 : Infinity
      current.push(Math.min(exchange, swap, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    beforePrevious = previous
    previous = current
  }
  return previous[other.length] ?? 0
}
