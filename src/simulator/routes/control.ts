import { describeProgress } from '../progress.ts'
import { becomeUnloaded, loadCheckpoint, previewOptions, selectedCheckpoint, type ServerProcess } from '../server-process.ts'
import { strict } from '../wire/fields.ts'
import { get, post, type Route } from './route.ts'

/** Progress, interrupt, skip, and what loads or reads checkpoints anew. */
export function controlRoutes (server: ServerProcess): Route[] {
  const { state, machine, memory } = server
  const underLock = (work: () => void) => async (): Promise<null> => {
    await server.jobLock.run(async () => { work() })
    return null
  }
  const nothingToRead = underLock(() => undefined)

  return [
    get('/sdapi/v1/progress', async ({ query }) => await describeProgress(
      memory.frozenState ?? state, previewOptions(server), { skipCurrentImage: query.skip_current_image === true }
    ), { query: { skip_current_image: strict('boolean', false) } }),
    post('/sdapi/v1/interrupt', () => {
      machine.records.countInterrupt()
      state.interrupted = true
      return {}
    }),
    post('/sdapi/v1/skip', () => {
      state.skipped = true
      return null
    }),
    post('/sdapi/v1/unload-checkpoint', () => {
      becomeUnloaded(server)
      return {}
    }),
    post('/sdapi/v1/reload-checkpoint', async () => {
      if (machine.settings.flavor === 'a1111') await loadCheckpoint(server, selectedCheckpoint(server))
      return {}
    }),
    post('/sdapi/v1/refresh-checkpoints', underLock(() => { server.checkpoints.refresh(machine.disk.checkpoints) })),
    post('/sdapi/v1/refresh-vae', nothingToRead),
    post('/sdapi/v1/refresh-embeddings', nothingToRead)
  ]
}
