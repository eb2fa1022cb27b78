import { isMissing } from '../failures.ts'
import { fieldsOf, textOf, type JsonObject } from '../../lib/json-values.ts'
import type { ServerProgress } from '../types.ts'
import { a1111 } from './a1111.ts'
import type { MarkReader, ReadingClient, ServerKindRules } from './kind.ts'

/** Jobs of its history that are whole requests of the API; their parts are listed there as well. */
const wholeRequests = /^api-/i

/**
 * SD.Next. It answers 204 if there is nothing to report, names samplers by its own classes, has no schedulers, and
 * allows each client 300 requests a minute for each route. `/internal/progress` exists but knows no task of the API.
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

/** Number of probes for which it can seem idle between two stages of one generation. */
const looksBetweenStages = 3

/**
 * Each stage of a generation appears as a separate job with its own start: only the history shows which request of the
 * API runs. For versions without a history, the start identifies it, as for any other server.
 */
function createMarkReader (client: ReadingClient): MarkReader {
  let running: string | null = null
  let searchedAt: string | null = null
  let idleLooks = 0
  /** Failed requests, which never end in the history. */
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
    // The whole history is long: it is read again only if something can have begun. Start times are whole seconds, so
    // two short requests can share one: a request after the end of another is new as well.
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

/** The request of the API that began last, unless it has finished. */
function openRequest (entries: readonly JsonObject[]): string | null {
  const last = entries.findLast(({ job, op }) => op === 'begin' && wholeRequests.test(String(job)))
  const id = textOf(last?.id)
  return id === null || entries.some(entry => entry.id === id && isEnd(entry)) ? null : id
}

function isEnd ({ op }: JsonObject): boolean {
  return op === 'end'
}
