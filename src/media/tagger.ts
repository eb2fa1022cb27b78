import { setTimeout as sleep } from 'node:timers/promises'
import { fieldsOf, numberOf } from '../lib/json-values.ts'
import { parseJson } from '../lib/json.ts'
import { createHttpClient } from '../lib/http/client.ts'
import { encodeForm, readConfigured } from '../lib/http/bytes.ts'
import type { Log } from '../lib/logging.ts'

/** Tags of an image, each with its certainty from 0 to 1. */
export type Tags = Readonly<Record<string, number>>

/** Finds tags for images; any failure returns none, so that no image fails because of it. */
export interface Tagger {
  tag (name: string, image: Buffer, signal: AbortSignal): Promise<Tags>
}

export interface TaggerDependencies {
  readonly url: URL
  readonly log: Log
  /** Milliseconds between two tries, and for one. */
  readonly pauseMs?: number
  readonly timeoutMs?: number
}

const tries = 3
const maxBytes = 1024 * 1024
const maxTags = 1000
/** A silent tagger is not called for this long, in milliseconds: a job that waits for it delays others. */
const restMs = 60_000

/** A tagger like async-proxy's: takes a form with a file, answers `[{ filename, tags: { tag: score } }]`. */
export function createTagger ({ url, log, pauseMs = 1000, timeoutMs = 20_000 }: TaggerDependencies): Tagger {
  const http = createHttpClient({ connectTimeoutMs: 10_000 })
  let restUntil = 0

  async function ask (name: string, image: Buffer, signal: AbortSignal): Promise<Tags> {
    const form = new FormData()
    form.set('file', new Blob([new Uint8Array(image)]), name)
    form.set('format', 'json')
    const { body, headers } = await encodeForm(form)
    const answer = parseJson('The answer of the tagger', await readConfigured(http, {
      url, method: 'POST', headers: { accept: 'application/json', ...headers }, body, timeoutMs, maxBytes, signal
    }))
    const [first] = Array.isArray(answer) ? answer as unknown[] : [answer]
    const scores = Object.entries(fieldsOf(fieldsOf(first).tags)).flatMap(([tag, value]) => {
      const score = numberOf(value)
      return score === null ? [] : [[tag, score] as const]
    })
    return Object.fromEntries(scores.slice(0, maxTags))
  }

  return {
    async tag (name, image, signal) {
      const deadline = performance.now() + timeoutMs
      for (let attempt = 1; performance.now() >= restUntil; attempt++) {
        try {
          return await ask(name, image, signal)
        } catch (error) {
          if (signal.aborted) break
          log.warn({ image: name, attempt, err: error }, 'the tagger gave no tags')
          if (attempt >= tries || performance.now() + pauseMs >= deadline) {
            restUntil = performance.now() + restMs
            break
          }
          await sleep(pauseMs, null, { signal }).catch(() => undefined)
        }
      }
      return {}
    }
  }
}
