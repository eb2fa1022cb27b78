import { fork, type ForkOptions } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Environment } from './environment.ts'

/** A process of its own, so that it does not share the event loop with the measuring one. */
export interface Child {
  readonly pid: number
  isRunning (): boolean
  /** Runs an action in the child and returns its answer. @throws Error with the child's fault, or if it ended */
  ask<Answer> (question: string, value?: unknown): Promise<Answer>
  /** As a power cut would end it. */
  kill (): Promise<void>
  /** In order. */
  stop (): Promise<void>
}

interface Reply {
  readonly id: number
  readonly answer?: unknown
  readonly error?: string
}

/** Starts a module as a child that ends with the environment. */
export function startChild (
  environment: Pick<Environment, 'onClose'>, module: URL, parameters: readonly string[], options: ForkOptions = {}
): Child {
  const child = fork(fileURLToPath(module), [...parameters], options)
  const waiting = new Map<number, (reply: Reply) => void>()
  let asked = 0
  child.on('message', (reply: Reply) => { waiting.get(reply.id)?.(reply) })
  child.once('exit', () => {
    for (const [id, settle] of waiting) settle({ id, error: `${module.pathname} ended` })
  })

  const isRunning = () => child.exitCode === null && child.signalCode === null

  async function end (signal: NodeJS.Signals): Promise<void> {
    if (!isRunning()) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }

  environment.onClose(() => end('SIGTERM'))
  return {
    pid: child.pid ?? 0,
    isRunning,
    async ask<Answer> (question: string, value?: unknown) {
      const id = asked++
      const reply = await new Promise<Reply>(resolve => {
        waiting.set(id, resolve)
        child.send({ id, question, value })
      })
      waiting.delete(id)
      if (reply.error !== undefined) throw new Error(reply.error)
      return reply.answer as Answer
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM')
  }
}
