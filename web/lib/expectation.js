import { secondsText } from './format.js'

/** How a job stands in its line, in words; empty unless it waits. */
export function placeText ({ queue_position: place }) {
  return place === null || place === undefined ? '' : `#${place} in queue`
}

/** When a waiting job is expected to begin, in words; empty where nobody knows. */
export function startText ({ status, estimated_start_time: moment }) {
  if (status !== 'pending' || !moment) return ''
  const seconds = (Date.parse(moment) - Date.now()) / 1000
  return seconds < 1 ? 'starts any moment' : `starts in about ${secondsText(seconds)}`
}

/** When a waiting job is expected to be done, in words; empty where nobody knows. */
export function endText ({ status, estimated_completion_time: moment }) {
  if (status !== 'pending' || !moment) return ''
  return `done in about ${secondsText(Math.max(1, (Date.parse(moment) - Date.now()) / 1000))}`
}
