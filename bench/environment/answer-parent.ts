/** What a child does when it is asked, by the question. */
export type Answers = Readonly<Record<string, (value: unknown) => unknown>>

interface Question {
  readonly id: number
  readonly question: string
  readonly value?: unknown
}

/** In a child: answers what the parent asks, and calls back when the parent is gone. */
export function answerParent (answers: Answers, orphaned: () => void): void {
  const send = (reply: object) => { if (process.connected) process.send?.(reply) }
  process.on('message', ({ id, question, value }: Question) => {
    Promise.resolve(value)
      .then(answers[question] ?? (() => { throw new Error(`${question} is no question`) }))
      .then(answer => send({ id, answer }), error => send({ id, error: String(error) }))
  })
  process.once('disconnect', orphaned)
}
