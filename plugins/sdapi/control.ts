import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { mayDo } from '../../src/access/principal.ts'
import { readModel, required, strict } from '../../src/fastapi/model.ts'
import { pydantic1 } from '../../src/fastapi/pydantic1.ts'
import type { Job } from '../../src/jobs/job.ts'
import { ignoring } from '../../src/lib/errors.ts'
import { fieldsOf } from '../../src/lib/json-values.ts'
import {
  endedTask, idleProgress, liveProgress, recordedProgress, runningTask, unknownTask, waitingProgress, waitingTask
} from '../../src/sdapi/progress.ts'
import { clientOfRequest, sendJson, targetOf } from './call.ts'

const reading = { access: { scope: 'jobs:read', bucket: 'status' } } as const
const writing = { access: { scope: 'jobs:write' } } as const

/**
 * Progress, interrupt and skip. A1111's own concern whatever runs there; these concern the client's own call: its
 * oldest running job, else its oldest waiting one, since to the client both are a call in progress.
 */
const control: FastifyPluginAsync = async app => {
  const { clientJobs, upstream, optionsService: options, jobStore: store, registry } = app

  async function current (request: FastifyRequest): Promise<Job | null> {
    return (await clientJobs.active(clientOfRequest(request)))[0] ?? null
  }

  app.get('/progress', {
    config: reading,
    schema: {
      tags: ['A1111'],
      operationId: 'a1111_progress',
      summary: 'Progress of the caller\'s own generation',
      description: 'While it waits, `textinfo` has its position; without a generation, all numbers are 0.'
    }
  }, async (request, reply) => {
    const job = await current(request)
    if (job === null) return sendJson(reply, idleProgress)
    if (job.status === 'pending') {
      const [position, waiting] = await Promise.all([store.position(job), store.waitingOn(job.serverId)])
      return sendJson(reply, waitingProgress(job, position ?? 1, waiting))
    }
    const server = registry.byId(job.serverId)
    const { skip_current_image: skip = 'false' } = request.query as { skip_current_image?: string }
    const skips = /^(1|true|yes|on)$/i.test(skip) || !mayDo(request.principal, 'images:read')
    const live = server === undefined
      ? recordedProgress(job)
      : await liveProgress(upstream.client(server), job, skips ? 'true' : 'false')
          .catch(() => recordedProgress(job))
    return sendJson(reply, live)
  })

  app.post('/interrupt', {
    config: writing,
    schema: {
      tags: ['A1111'],
      operationId: 'a1111_interrupt',
      summary: 'End the caller\'s own generation',
      description: 'Its call answers with the images made so far; a generation that waits is cancelled. Those of others go on.'
    }
  }, async (request, reply) => {
    const job = await current(request)
    if (job !== null) {
      await clientJobs.interrupt(job.id)
      await store.cancel(job.id).catch(ignoring('job_operation_invalid', 'job_not_found'))
    }
    return sendJson(reply, {})
  })

  app.post('/skip', {
    config: writing,
    schema: {
      tags: ['A1111'],
      operationId: 'a1111_skip',
      summary: 'End the caller\'s own batch and go on with the next',
      description: 'It has no effect unless the generation runs.'
    }
  }, async (request, reply) => {
    const job = await current(request)
    const server = job?.status === 'processing' ? registry.byId(job.serverId) : undefined
    if (job !== null && server !== undefined) {
      const client = upstream.client(server)
      if ((await client.progress(job.id)).task === 'running') await client.postJson('/sdapi/v1/skip', {})
    }
    return sendJson(reply, null)
  })

  app.get('/options', {
    config: { access: { scope: 'servers:read' } },
    schema: {
      tags: ['A1111'],
      operationId: 'a1111_options',
      summary: 'A server\'s options',
      description: 'Those of the best server, or of the named one, with the caller\'s own on top.'
    }
  }, async (request, reply) => sendJson(reply, await options.show(clientOfRequest(request), targetOf(request))))

  app.post('/options', {
    config: writing,
    schema: {
      tags: ['A1111'],
      operationId: 'a1111_set_options',
      summary: 'Set the caller\'s own options',
      description: 'Never reaches a server: checkpoint, VAE, clip skip and the like become defaults of the caller\'s own ' +
        'jobs; what cannot belong to a job has no effect.'
    }
  }, async (request, reply) => {
    await options.change(clientOfRequest(request), targetOf(request), fieldsOf(request.body))
    return sendJson(reply, null)
  })
}

export default control

const config = { access: { scope: 'jobs:read', bucket: 'status' }, credentials: 'a1111' } as const
const schema = { hide: true }

const progressQuery = {
  id_task: required('string'), id_live_preview: strict('integer', -1), live_preview: strict('boolean', true)
}

/** Requests of A1111's own page: the client's own tasks, by their `force_task_id` or by job id. */
export const internal: FastifyPluginAsync = async app => {
  const { clientJobs, clientTasks, shortIds, upstream, jobStore: store, registry } = app

  app.post('/internal/progress', { config, schema }, async (request, reply) => {
    const { id_task: name, ...asked } = readModel(pydantic1, progressQuery, request.body)
    const requested = mayDo(request.principal, 'images:read') ? asked : { ...asked, live_preview: false }
    const client = clientOfRequest(request)
    const named = await clientTasks.find(client, String(name))
    const id = named ?? await shortIds.resolve(String(name))
    const job = named === null
      ? (await clientJobs.active(client)).find(active => active.id === id) ?? null
      : await store.find(id)
    if (job === null) return sendJson(reply, unknownTask)
    if (job.status === 'pending') {
      const [position, waiting] = await Promise.all([store.position(job), store.waitingOn(job.serverId)])
      return sendJson(reply, waitingTask(position ?? 1, waiting))
    }
    if (job.status !== 'processing') return sendJson(reply, endedTask(job))
    const server = registry.byId(job.serverId)
    return sendJson(reply, await runningTask(job, server === undefined ? null : upstream.client(server), requested))
  })

  app.get('/internal/pending-tasks', { config, schema }, async (request, reply) => {
    const waiting = (await clientJobs.active(clientOfRequest(request))).filter(({ status }) => status === 'pending')
    return sendJson(reply, { size: waiting.length, tasks: waiting.map(({ id }) => id) })
  })
}
