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

function startThread (): Worker {
  const thread = new Worker(threadUrl)
  thread.unref()
  return thread
}

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
    const worker = thread ??= startThread()
    let stopListening = () => {}
    try {
      const answer = await new Promise<HashAnswer>((resolve, reject) => {
        const onExit = () => { reject(new Error('the hash thread stopped')) }
        const onAbort = () => { reject(signal.reason) }
        stopListening = () => {
          worker.off('message', resolve).off('error', reject).off('exit', onExit)
          signal.removeEventListener('abort', onAbort)
        }
        worker.on('message', resolve).on('error', reject).on('exit', onExit)
        signal.addEventListener('abort', onAbort, { once: true })
        worker.postMessage({ path } satisfies HashRequest)
      })
      if ('problem' in answer) throw new Error(answer.problem)
      return answer.hashes
    } catch (error) {
      if (signal.aborted) await stop()
      throw error
    } finally {
      stopListening()
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
