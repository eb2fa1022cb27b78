import { loadCheckpoint, selectedCheckpoint, type ServerProcess } from '../server-process.ts'
import type { GenerationRequest } from './request.ts'

/**
 * Runs work under a request's `override_settings`. A checkpoint that is not known is dropped without a word; the
 * selection is restored afterwards but what was loaded stays loaded; keys that were not there before leak. Where the
 * process dies, nothing is restored, and its config file may have been saved meanwhile.
 *
 * @throws PythonError for an option that does not exist
 */
export async function withOverrides<Result> (
  server: ServerProcess, request: GenerationRequest, work: () => Promise<Result>
): Promise<Result> {
  const { options, checkpoints } = server
  const overrides = { ...request.override_settings }
  const before = options.remember(Object.keys(overrides))
  if (checkpoints.find(overrides.sd_model_checkpoint) === undefined) delete overrides.sd_model_checkpoint
  try {
    for (const [key, value] of Object.entries(overrides)) options.set(key, value)
    await loadCheckpoint(server, selectedCheckpoint(server))
    return await work()
  } finally {
    if (request.override_settings_restore_afterwards !== false && server.machine.restores === 'saved') {
      for (const [key, value] of Object.entries(before)) options.write(key, value)
    }
  }
}
