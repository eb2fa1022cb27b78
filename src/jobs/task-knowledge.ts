import type { A1111Client } from '../a1111/client.ts'
import type { LookIntervals, MarkReader, ServerKindRules } from '../a1111/kinds/kind.ts'
import { rulesOf } from '../a1111/kinds/registry.ts'
import type { ServerProgress, ServerTraits } from '../a1111/types.ts'
import type { ServerLearning } from '../servers/learned-traits.ts'

/** What one process may believe of a server's words about tasks. */
export interface TaskKnowledge {
  /**
   * A look as the client's own, except that a task which the server does not name is `unknown` and not `gone`, unless
   * the server was seen to know one of ours: some answer without ever knowing a task of the API.
   */
  readonly progress: A1111Client['progress']
  /** How often the server may be looked at. */
  looks (): LookIntervals
  /** Whether the server was seen to know one of our tasks. */
  tellsApart (): boolean
  /** A generation was sent. To be followed by a call of what it returns when its answer begins, or none will come. */
  sent (taskId: string): () => void
}

/** From the note that a generation begins until the server has taken up its request, in milliseconds. */
export const longestWay = 1500

export function createTaskKnowledge (
  client: Pick<A1111Client, 'progress' | 'readJson'>, learning: ServerLearning,
  traits: () => ServerTraits | null = () => null
): TaskKnowledge {
  let reader: { readonly of: ServerKindRules, readonly read: MarkReader } | null = null

  /** The look with what its server's kind knows a generation by. */
  async function marked (seen: ServerProgress): Promise<ServerProgress> {
    const rules = rulesOf(traits())
    if (rules.createMarkReader === undefined) return seen
    if (reader?.of !== rules) reader = { of: rules, read: rules.createMarkReader(client) }
    return { ...seen, ...await reader.read(seen) }
  }

  /** Since when, by the monotonic clock, each generation is at the server. */
  const outstanding = new Map<string, number>()
  const tellsApart = () => learning.now().tasksKnown === true

  function isThere (taskId: string): boolean {
    return performance.now() - (outstanding.get(taskId) ?? Infinity) > longestWay
  }

  return {
    tellsApart,
    looks: () => rulesOf(traits()).looks,
    sent (taskId) {
      outstanding.set(taskId, performance.now())
      return () => { outstanding.delete(taskId) }
    },
    async progress (taskId, options) {
      const seen = await client.progress(taskId, options)
      if (taskId === null || seen.task === 'unknown') return await marked(seen)
      if (seen.task !== 'gone' || seen.fraction === 1) {
        learning.note({ tasksKnown: true })
        return seen
      }
      // It works on something, has our request, and knows nothing of it: something in between may take the name away.
      if (seen.busy && isThere(taskId)) learning.note({ tasksKnown: false })
      return tellsApart() ? seen : await marked({ ...seen, ...seen.whole, task: 'unknown' })
    }
  }
}
