import { describeTaskProgress } from '../progress.ts'
import { previewOptions, type ServerProcess } from '../server-process.ts'
import { optional, strict } from '../wire/fields.ts'
import { get, post, type Route } from './route.ts'

/** Routes of the user interface, which are there unless it is off, and never guarded. */
export function internalRoutes (server: ServerProcess): Route[] {
  const { state, tasks, memory } = server
  // pydantic 2 takes no null for a text, though null is its default
  const task = server.machine.settings.family === 'forge' ? strict('string', null) : optional('string')
  return [
    post('/internal/progress', async ({ body }) => await describeTaskProgress(memory.frozenState ?? state, tasks, previewOptions(server), {
      task: typeof body.id_task === 'string' ? body.id_task : null,
      shownPreview: Number(body.id_live_preview),
      withPreview: body.live_preview === true
    }), {
      body: { id_task: task, id_live_preview: strict('integer', -1), live_preview: strict('boolean', true) }
    }),
    get('/internal/pending-tasks', () => ({ size: tasks.pending().length, tasks: tasks.pending() })),
    get('/internal/ping', () => ({})),
    get('/internal/profile-startup', () => ({ total: 9.4, records: { initialize: 6.1, 'create ui': 3.3 } })),
    get('/internal/sysinfo', () => ({ Platform: 'Linux', Version: '1.10.1', Commandline: ['launch.py', '--api'] })),
    get('/internal/sysinfo-download', () => ({ Platform: 'Linux', Version: '1.10.1', Commandline: ['launch.py', '--api'] })),
    get('/internal/quicksettings-hint', () => Object.keys(server.options.all()).map(name => ({ name, label: name })))
  ]
}
