import { isMissing } from '../failures.ts'
import { fieldsOf, textOf, type JsonObject } from '../../lib/json-values.ts'
import type { ServerProgress } from '../types.ts'
import { a1111 } from './a1111.ts'
import type { MarkReader, ReadingClient, ServerKindRules } from './kind.ts'

/** Jobs of its history that are whole requests of the API; what runs within them stands there as well. */
const wholeRequests = /^api-/i

/**
 * SD.Next. It answers 204 where there is nothing to say, has samplers by the names of its own classes and no
 * schedulers, and lets each client ask each route 300 times a minute. `/internal/progress` is there and knows no task
 * of the API.
 */
export const sdnext: ServerKindRules = {
  ...a1111,
  isSeenIn: ({ options, taskProgress }) =>
    Object.keys(options).some(name => name.startsWith('diffusers_')) ||
    (taskProgress !== null && 'paused' in taskProgress && 'debug' in taskProgress),
  requestFields (mode, parameters) {
    const { scheduler: _, hr_scheduler: __, ...fields } = a1111.requestFields(mode, parameters)
    return fields
  },
  restoresOverrides: 'all',
  defaults: { cfg_scale: 6, width: 1024, height: 1024, steps: 20 },
  defaultSampler: null,
  families: null,
  takesSchedulers: false,
  looks: { progressMs: 1000, stopMs: 1000, previewMs: 3000 },
  async readVersion (client) {
    const { commit, updated } = fieldsOf(await client.readJson('/sdapi/v1/version'))
    return textOf(commit) ?? textOf(updated)
  },
  createMarkReader,
  emptyAnswer: 'SD.Next answered without any image, as it does when no model is loaded, when the generation failed, or ' +
    'when somebody interrupted it. Its log says which.'
}

/** Looks for which it may seem idle between two stages of one generation. */
const looksBetweenStages = 3

/**
 * Each stage of a generation shows as a job of its own, with another begin: only the history tells which request of the
 * API runs. Versions without it are told by the begin, like any other server.
 */
function createMarkReader (client: ReadingClient): MarkReader {
  let running: string | null = null
  let searchedAt: string | null = null
  let idleLooks = 0
  /** Those that failed, which never end in the history. */
  const failed = new Set<string>()

  async function history (query: string): Promise<JsonObject[]> {
    const answer = await client.readJson(`/sdapi/v1/history${query}`, { leaveOut: ['outputs'] })
    return Array.isArray(answer) ? answer.map(fieldsOf) : []
  }

  async function read (seen: ServerProgress): Promise<Pick<ServerProgress, 'busy' | 'mark'>> {
    idleLooks = seen.busy ? 0 : idleLooks + 1
    if (running !== null && idleLooks >= looksBetweenStages) {
      failed.add(running)
      running = null
    }
    if (running !== null) {
      const entries = await history(`?id=${encodeURIComponent(running)}`)
      if (!entries.some(isEnd)) return { busy: true, mark: running }
      running = null
      searchedAt = null
    }
    if (!seen.busy) {
      searchedAt = null
      return { busy: false, mark: null }
    }
    // The whole history is long: it is read again only when something may have begun. The begin has whole seconds, so
    // that two short ones can share it: whatever comes after something else was over is new as well.
    if (seen.mark !== searchedAt) {
      searchedAt = seen.mark
      running = openRequest((await history('')).filter(({ id }) => !failed.has(String(id))))
    }
    return { busy: true, mark: running }
  }

  return async seen => await read(seen).catch((error: unknown) => {
    if (isMissing(error)) return { busy: seen.busy, mark: seen.mark }
    throw error
  })
}

/** The request of the API that began last, unless it has ended. */
function openRequest (entries: readonly JsonObject[]): string | null {
  const last = entries.findLast(({ job, op }) => op === 'begin' && wholeRequests.test(String(job)))
  const id = textOf(last?.id)
  return id === null || entries.some(entry => entry.id === id && isEnd(entry)) ? null : id
}

function isEnd ({ op }: JsonObject): boolean {
  return op === 'end'
}
