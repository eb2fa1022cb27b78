import type { FastifyPluginAsync } from 'fastify'
import { mayDo } from '../../src/access/principal.ts'
import { readModel } from '../../src/simulator/wire/read-model.ts'
import { required, strict } from '../../src/simulator/wire/fields.ts'
import { pydantic1 } from '../../src/simulator/wire/pydantic1.ts'
import { endedTask, runningTask, unknownTask, waitingTask } from '../../src/sdapi/tasks.ts'
import { callerOfRequest, sendJson } from './call.ts'

const config = { access: { scope: 'jobs:read', bucket: 'status' }, credentials: 'a1111' } as const
const schema = { hide: true }

const progressQuery = {
  id_task: required('string'), id_live_preview: strict('integer', -1), live_preview: strict('boolean', true)
}

/** What A1111's own page asks for: the caller's own tasks, by the `force_task_id` that it gave them or by job id. */
const internal: FastifyPluginAsync = async app => {
  const { callerJobs, callerTasks, shortIds, faces, jobStore: store, registry } = app

  app.post('/internal/progress', { config, schema }, async (request, reply) => {
    const { id_task: name, ...asked } = readModel(pydantic1, progressQuery, request.body)
    const wish = mayDo(request.principal, 'images:read') ? asked : { ...asked, live_preview: false }
    const caller = callerOfRequest(request)
    const named = await callerTasks.find(caller, String(name))
    const id = named ?? await shortIds.resolve(String(name))
    const job = named === null
      ? (await callerJobs.active(caller)).find(active => active.id === id) ?? null
      : await store.find(id)
    if (job === null) return sendJson(reply, unknownTask)
    if (job.status === 'pending') {
      const [place, waiting] = await Promise.all([store.position(job), store.waitingOn(job.serverId)])
      return sendJson(reply, waitingTask(place ?? 1, waiting))
    }
    if (job.status !== 'processing') return sendJson(reply, endedTask(job))
    const server = registry.byId(job.serverId)
    return sendJson(reply, await runningTask(job, server === undefined ? null : faces.client(server), wish))
  })

  app.get('/internal/pending-tasks', { config, schema }, async (request, reply) => {
    const waiting = (await callerJobs.active(callerOfRequest(request))).filter(({ status }) => status === 'pending')
    return sendJson(reply, { size: waiting.length, tasks: waiting.map(({ id }) => id) })
  })
}

export default internal
