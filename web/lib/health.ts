import type { Sample } from './api-types.ts'
import { secondsText } from './format.ts'
import { t } from '../texts/en/servers.ts'

/** The health of a server over time, in sections of a bar. */

const hour = 3_600_000
const longest = 24 * hour
const spans = [hour, 6 * hour, longest]
const pieces = 48

/**
 * @param samples oldest first
 * @param now milliseconds since the epoch
 * @returns words: the time since the first sample; online: share of the piece in which the server answered, null if
 *   unknown
 */
export function healthPieces (samples: readonly Sample[], now: number) {
  const moments = samples.map(({ at }) => Date.parse(at))
  const age = now - (moments[0] ?? now)
  const span = spans.find(length => age <= length) ?? longest
  const length = span / pieces
  return {
    words: age < longest ? t.lastTime(secondsText(age / 1000)) : t.lastDay,
    pieces: Array.from({ length: pieces }, (_, index) => {
      const from = now - span + index * length
      const to = from + length
      return { from, to, online: onlineBetween(samples, moments, from, to, now) }
    })
  }
}

function onlineBetween (samples: readonly Sample[], moments: readonly number[], from: number, to: number, now: number) {
  let known = 0
  let online = 0
  for (const [index, { health }] of samples.entries()) {
    const begin = Math.max(from, moments[index] ?? now)
    const end = Math.min(to, moments[index + 1] ?? now)
    if (end <= begin) continue
    known += end - begin
    if (health === 'online' || health === 'suspected') online += end - begin
  }
  return known === 0 ? null : online / known
}
