/**
 * A1111's bookkeeping of tasks by id, with its defects: a task that raised after its start stays current until
 * another starts, one that raised before its start stays pending for ever, and only 16 finished ones are kept.
 */
export interface Tasks {
  add (id: string): void
  start (id: string): void
  finish (id: string): void
  /** Null where the request names none, which is the current one while there is none. */
  look (id: string | null): { active: boolean, queued: boolean, completed: boolean }
  pending (): readonly string[]
}

const rememberedFinished = 16

export function createTasks (): Tasks {
  const pending = new Set<string>()
  const finished: string[] = []
  let current: string | null = null

  return {
    add (id) {
      pending.add(id)
    },
    start (id) {
      current = id
      pending.delete(id)
    },
    finish (id) {
      if (current === id) current = null
      finished.push(id)
      if (finished.length > rememberedFinished) finished.shift()
    },
    look: id => ({
      active: id === current,
      queued: id !== null && pending.has(id),
      completed: id !== null && finished.includes(id)
    }),
    pending: () => [...pending]
  }
}

/** An id as A1111 makes one where the client gave none, such as `task(txt2img-7K2Q0ZD)`. */
export function createTaskId (kind: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
  const letters = Array.from({ length: 7 }, () => alphabet[Math.floor(Math.random() * alphabet.length)])
  return `task(${kind}-${letters.join('')})`
}
