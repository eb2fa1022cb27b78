import { PythonError } from '../failures.ts'
import { commandFlags } from '../lists/command-flags.ts'
import { loadCheckpoint, selectedCheckpoint, type ServerProcess } from '../server-process.ts'
import { get, post, type Route } from './route.ts'

/** GET and POST /sdapi/v1/options, and the flags that the server was started with. */
export function optionRoutes (server: ServerProcess): Route[] {
  const { options, checkpoints, machine } = server
  return [
    get('/sdapi/v1/options', () => options.all()),
    post('/sdapi/v1/options', async ({ body }) => {
      const wanted = body.sd_model_checkpoint
      if (wanted != null && checkpoints.find(wanted) === undefined) {
        throw new PythonError('RuntimeError', `model '${String(wanted)}' not found`)
      }
      const before = options.get('sd_model_checkpoint')
      const set = machine.settings.family === 'forge' ? options.setAny : options.set
      for (const [key, value] of Object.entries(body)) set(key, value)
      // the selection changes at once, the load waits for the job lock; Forge leaves it to the next generation
      const isLoad = 'sd_model_checkpoint' in body && wanted !== before && machine.settings.family !== 'forge'
      if (isLoad) await server.jobLock.run(async () => { await loadCheckpoint(server, selectedCheckpoint(server)) })
      options.save()
      return null
    }, { body: 'object' }),
    // A1111 shows the password in clear here
    get('/sdapi/v1/cmd-flags', () => {
      // its own flags do not fit the model of its answer
      if (machine.settings.flavor === 'forge') throw new PythonError('ResponseValidationError', '')
      return {
        ...commandFlags,
        api_auth: machine.auth,
        port: machine.settings.port === 0 ? null : String(machine.settings.port),
        nowebui: !machine.settings.internalProgress
      }
    })
  ]
}
