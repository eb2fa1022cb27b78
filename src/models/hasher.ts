import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { FileHashes, HashAnswer, HashRequest } from './hash-thread.ts'

export interface Hasher {
  /**
   * The hashes of a file, one file at a time; a signal ends it in the middle.
   * @throws Error with the reason; an AbortError for the signal
   */
  hash (path: string, signal: AbortSignal): Promise<FileHashes>
  close (): Promise<void>
}

/** The thread is `.ts` where sources run as they are, `.js` where they were built. */
const threadUrl = new URL(`./hash-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)

/** Hashes in a thread of its own, so that gigabytes of it delay nobody. The thread starts when it is first needed. */
export function createHasher (): Hasher {
  let thread: Worker | null = null
  let line: Promise<unknown> = Promise.resolve()

  async function stop (): Promise<void> {
    const stopping = thread
    thread = null
    await stopping?.terminate()
  }

  async function hash (path: string, signal: AbortSignal): Promise<FileHashes> {
    signal.throwIfAborted()
    thread ??= new Worker(threadUrl)
    thread.unref()
    const ended = new AbortController()
    try {
      const either = { signal: AbortSignal.any([signal, ended.signal]) }
      const exit = once(thread, 'exit', either).then(() => { throw new Error('the hash thread ended') })
      exit.catch(() => undefined)
      const message = once(thread, 'message', either)
      thread.postMessage({ path } satisfies HashRequest)
      const [answer] = await Promise.race([message, exit]) as [HashAnswer]
      if ('problem' in answer) throw new Error(answer.problem)
      return answer.hashes
    } catch (error) {
      if (signal.aborted) await stop()
      throw error
    } finally {
      ended.abort()
    }
  }

  return {
    hash (path, signal) {
      const result = line.then(async () => await hash(path, signal))
      line = result.catch(() => undefined)
      return result
    },
    close: stop
  }
}
