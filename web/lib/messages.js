import { sentenceOf } from './api.js'
import { useEffect, useState } from './html.js'

/** What pages have to say in passing: read out by screen readers, shown at the edge. */

const lifetime = 6000

let messages = []
let lastId = 0
const listeners = new Set()

function publish (next) {
  messages = next
  for (const listener of listeners) listener(messages)
}

export function dismiss (id) {
  publish(messages.filter(message => message.id !== id))
}

/** Something worked. */
export function say (text) {
  const id = ++lastId
  publish([...messages.slice(-2), { id, text, kind: 'news' }])
  setTimeout(dismiss, lifetime, id)
}

/** Whoever goes elsewhere has seen what did not work here. */
export function dismissProblems () {
  if (messages.some(({ kind }) => kind === 'problem')) publish(messages.filter(({ kind }) => kind !== 'problem'))
}

/** Something did not work; stays until it is put away, or the page is left. */
export function complain (error) {
  publish([...messages.slice(-2), { id: ++lastId, text: sentenceOf(error), kind: 'problem' }])
}

export function useMessages () {
  const [shown, setShown] = useState(messages)
  useEffect(() => {
    listeners.add(setShown)
    return () => listeners.delete(setShown)
  }, [])
  return shown
}

/** Does something, says what came of it, and reports whether it worked. */
export async function attempt (act, sentence) {
  try {
    const answer = await act()
    say(sentence ?? answer?.message ?? 'Done.')
    return true
  } catch (error) {
    complain(error)
    return false
  }
}
