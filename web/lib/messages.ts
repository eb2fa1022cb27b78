import { sentenceOf } from './api.ts'
import { useEffect, useState } from 'preact/hooks'
import { common } from '../texts/en/common.ts'

/** Short messages at the edge of the page; screen readers read them out. */

const lifetime = 6000

interface ShownMessage {
  readonly id: number
  readonly text: string
  readonly kind: 'news' | 'problem'
}

/** What an action returns: an answer with a sentence, or anything else. */
export type Outcome = object | null | undefined | void

let messages: ShownMessage[] = []
let lastId = 0
const listeners: Set<(messages: ShownMessage[]) => void> = new Set()

function publish (next: ShownMessage[]) {
  messages = next
  for (const listener of listeners) listener(messages)
}

export function dismiss (id: number) {
  publish(messages.filter(message => message.id !== id))
}

/** A success. */
export function say (text: string) {
  const id = ++lastId
  publish([...messages.slice(-2), { id, text, kind: 'news' }])
  setTimeout(dismiss, lifetime, id)
}

/** After a change of page, errors of the former page are obsolete. */
export function dismissProblems () {
  if (messages.some(({ kind }) => kind === 'problem')) publish(messages.filter(({ kind }) => kind !== 'problem'))
}

/** A failure; stays until the user closes it or leaves the page. */
export function complain (error: unknown) {
  publish([...messages.slice(-2), { id: ++lastId, text: sentenceOf(error), kind: 'problem' }])
}

export function useMessages () {
  const [shown, setShown] = useState(messages)
  useEffect(() => {
    listeners.add(setShown)
    return () => { listeners.delete(setShown) }
  }, [])
  return shown
}

/** Runs an action, reports its result as a message, and returns whether it succeeded. */
export async function attempt (act: () => Promise<Outcome>, sentence?: string) {
  try {
    const answer = await act()
    say(sentence ?? (answer && 'message' in answer ? String(answer.message) : common.doneSentence))
    return true
  } catch (error) {
    complain(error)
    return false
  }
}
