/** Actions of a child by the parent's question. */
export type Answers = Readonly<Record<string, (value: unknown) => unknown>>

interface Question {
  readonly id: number
  readonly question: string
  readonly value?: unknown
}

/** Processor time of this process so far, user and system, in microseconds. */
export function used (): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** In a child: answers the parent's questions, and calls back when the parent has exited. */
export function answerParent (answers: Answers, orphaned: () => void): void {
  const send = (reply: object) => { if (process.connected) process.send?.(reply) }
  process.on('message', ({ id, question, value }: Question) => {
    Promise.resolve(value)
      .then(answers[question] ?? (() => { throw new Error(`${question} is no question`) }))
      .then(answer => send({ id, answer }), error => send({ id, error: String(error) }))
  })
  process.once('disconnect', orphaned)
}
