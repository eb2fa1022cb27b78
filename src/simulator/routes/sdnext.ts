import { PythonError } from '../failures.ts'
import { embeddings } from '../lists/files.ts'
import { sdnextSamplers } from '../lists/samplers.ts'
import type { ServerProcess } from '../server-process.ts'
import { optional } from '../wire/fields.ts'
import { createAnswer, get, type Route } from './route.ts'

/** Routes that answer with nothing at all. */
const silent = new Set([
  'interrupt', 'skip', 'unload-checkpoint', 'reload-checkpoint', 'refresh-checkpoints', 'refresh-vae'
])

/** What SD.Next makes of A1111's routes, and those that only it has. */
export function sdnextRoutes (server: ServerProcess, others: readonly Route[]): Route[] {
  const base = others.map(route => {
    const name = route.path.replace('/sdapi/v1/', '')
    if (silent.has(name)) return { ...route, handle: silently(route.handle) }
    return route.path === '/internal/progress' ? { ...route, handle: withStatus(server, route.handle) } : route
  })
  const own = [
    get('/sdapi/v1/samplers', () => sdnextSamplers.slice(1).map(({ name, options }) => ({ name, options }))),
    // one of its own entries does not fit the model of its answer
    get('/sdapi/v1/schedulers', () => { throw new PythonError('ResponseValidationError', '1 validation error') }),
    get('/sdapi/v1/embeddings', () => ({
      loaded: Object.keys(embeddings.loaded), skipped: Object.keys(embeddings.skipped)
    })),
    get('/sdapi/v1/version', () => ({ app: 'sd.next', updated: '2026-07-23', commit: '058a7f0c', branch: 'master' })),
    get('/sdapi/v1/history', ({ query }) => server.history.filter(({ id }) => query.id === null || query.id === id), {
      query: { id: optional('string') }
    })
  ]
  const replaced = new Set(own.map(({ path }) => path))
  return [...base.filter(({ path }) => !replaced.has(path)), ...own]
}

function silently (handle: Route['handle']): Route['handle'] {
  return async input => {
    await handle(input)
    return createAnswer(204, 'application/json', '')
  }
}

function withStatus ({ state }: ServerProcess, handle: Route['handle']): Route['handle'] {
  return async input => ({
    job: state.job, paused: false, debug: false, batch_no: 0, batch_count: 0, ...await handle(input) as object
  })
}
