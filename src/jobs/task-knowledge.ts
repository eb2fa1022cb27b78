import type { A1111Client } from '../a1111/client.ts'
import type { LookIntervals, MarkReader, ServerKindRules } from '../a1111/kinds/kind.ts'
import { rulesOf } from '../a1111/kinds/registry.ts'
import type { ServerProgress, ServerTraits } from '../a1111/types.ts'
import type { ServerLearning } from '../servers/learned-traits.ts'

/** What one process can conclude from a server's reports about tasks. */
export interface TaskKnowledge {
  /**
   * Reads progress like the client, except that a task which the server does not name is `unknown` and not `gone`,
   * unless the server has known one of our tasks: some servers answer without ever knowing a task of the API.
   */
  readonly progress: A1111Client['progress']
  /** How often to probe the server. */
  looks (): LookIntervals
  /** Whether the server has known one of our tasks. */
  distinguishesTasks (): boolean
  /** A generation was sent. Call the returned function when its answer begins, or when none will come. */
  sent (taskId: string): () => void
  /**
   * Its answer arrives. A server that still knows its name distinguishes tasks, so a new server is asked once: short
   * generations are over before anything else looks at them.
   */
  answered (taskId: string): void
}

/**
 * The longest time from the note that a generation begins until the server has accepted its request, in milliseconds.
 */
export const longestWay = 1500

export function createTaskKnowledge (
  client: Pick<A1111Client, 'progress' | 'readJson'>, learning: ServerLearning,
  traits: () => ServerTraits | null = () => null
): TaskKnowledge {
  let reader: { readonly of: ServerKindRules, readonly read: MarkReader } | null = null

  /** The progress with the mark by which the server's kind recognises a generation. */
  async function marked (seen: ServerProgress): Promise<ServerProgress> {
    const rules = rulesOf(traits())
    if (rules.createMarkReader === undefined) return seen
    if (reader?.of !== rules) reader = { of: rules, read: rules.createMarkReader(client) }
    return { ...seen, ...await reader.read(seen) }
  }

  /** When each generation reached the server, by the monotonic clock. */
  const outstanding = new Map<string, number>()
  const distinguishesTasks = () => learning.now().tasksKnown === true
  let hasAsked = false

  async function progress (...[taskId, options]: Parameters<TaskKnowledge['progress']>): Promise<ServerProgress> {
    const seen = await client.progress(taskId, options)
    if (taskId === null || seen.task === 'unknown') return await marked(seen)
    if (seen.task !== 'gone' || seen.fraction === 1) {
      learning.note({ tasksKnown: true })
      return seen
    }
    // It works on something and has our request, but does not know its name: a program in between could remove the
    // name.
    if (seen.busy && isThere(taskId)) learning.note({ tasksKnown: false })
    return distinguishesTasks() ? seen : await marked({ ...seen, ...seen.whole, task: 'unknown' })
  }

  function isThere (taskId: string): boolean {
    return performance.now() - (outstanding.get(taskId) ?? Infinity) > longestWay
  }

  return {
    distinguishesTasks,
    looks: () => rulesOf(traits()).looks,
    sent (taskId) {
      outstanding.set(taskId, performance.now())
      return () => { outstanding.delete(taskId) }
    },
    answered (taskId) {
      if (hasAsked || learning.now().tasksKnown !== null) return
      hasAsked = true
      progress(taskId).catch(() => { hasAsked = false })
    },
    progress
  }
}
