import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { JobEventQuery, LastEventIdHeader } from '../../schemas/event.ts'
import { JobIdParameters } from '../../schemas/job.ts'
import { wantsPreviews } from '../../src/events/filter.ts'
import { jobBases } from '../api/job-bases.ts'
import { openEventStream, startAnswer } from './event-stream.ts'
import { placeOf, streamAnswer } from './events.ts'

/** One job's events until its end. */
const jobEvents: FastifyPluginAsyncTypebox = async app => {
  const { connections, eventViews: views, previews, jobTeller } = app

  for (const { base, name } of jobBases) {
    app.get(`${base}/:jobId/events`, {
      config: { access: { scope: 'jobs:read', bucket: 'status', ticket: true } },
      exposeHeadRoute: false,
      schema: {
        operationId: `listen_to_job_${name}`,
        tags: ['Events'],
        summary: 'Listen to one job until its end',
        description: 'Server-sent events: first `snapshot`, the present job, then its events, last its end, which ' +
          'is also sent to clients that connect later. A client that has received the end and reconnects, as browsers ' +
          'do, gets 204, which stops it.',
        params: JobIdParameters,
        querystring: JobEventQuery,
        headers: LastEventIdHeader,
        response: {
          200: streamAnswer,
          204: Type.Null({ description: 'The client knows the end already.' }),
          ...errorResponses(404)
        }
      }
    }, async (request, reply) => {
      const { params: { jobId }, query, headers, principal } = request
      reply.hold('listening')
      connections.admit()
      const tell = await jobTeller.prepare({ jobId, asked: placeOf(headers, query), kinds: query.kinds }, principal)
      if (tell === null) return await reply.code(204).send(null)
      const stream = openEventStream(views)
      connections.add({ principal, ...stream })
      if (wantsPreviews(query)) previews.watch(jobId, stream.signal)
      tell(stream).catch(error => {
        request.log.debug({ err: error }, 'the events of a job cannot be read')
        stream.end()
      })
      return await startAnswer(reply).send(stream.body)
    })
  }
}

export default jobEvents
