/** The health of a server over time, in sections of a bar. */

const hour = 3_600_000
const spans = [[hour, 'the last hour'], [6 * hour, 'the last 6 hours'], [24 * hour, 'the last day']]
const pieces = 48

/**
 * @param {Array<{ at: string, health: string, response_ms: number | null }>} samples oldest first
 * @param {number} now milliseconds since the epoch
 * @returns {{ words: string, pieces: Array<{ from: number, to: number, online: number | null }> }} online: share of the
 *   piece in which the server answered; null if unknown
 */
export function healthPieces (samples, now) {
  const moments = samples.map(({ at }) => Date.parse(at))
  const age = moments.length === 0 ? 0 : now - moments[0]
  const [span, words] = spans.find(([length]) => age <= length) ?? spans.at(-1)
  const length = span / pieces
  return {
    words,
    pieces: Array.from({ length: pieces }, (_, index) => {
      const from = now - span + index * length
      const to = from + length
      return { from, to, online: onlineBetween(samples, moments, from, to, now) }
    })
  }
}

function onlineBetween (samples, moments, from, to, now) {
  let known = 0
  let online = 0
  for (const [index, { health }] of samples.entries()) {
    const begin = Math.max(from, moments[index])
    const end = Math.min(to, moments[index + 1] ?? now)
    if (end <= begin) continue
    known += end - begin
    if (health === 'online' || health === 'suspected') online += end - begin
  }
  return known === 0 ? null : online / known
}
