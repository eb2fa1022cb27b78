import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import type { Job } from '../../src/jobs/job.ts'
import type { DropIn } from '../../src/sdapi/drop-in.ts'
import { renderJobsPage } from '../../src/sdapi/jobs-page.ts'
import { failureEntry, publicEntry } from '../../src/sdapi/words.ts'
import { answerErrorsLikeA1111 } from './scope.ts'
import { sendJson } from './call.ts'

const mostFailures = 20
const config = { access: { scope: 'jobs:read', bucket: 'status' }, credentials: 'a1111' } as const
const schema = { hide: true }

/** What async-proxy shows at the root; here to whoever may see jobs, and only those that are theirs. */
const publicRoutes: FastifyPluginAsync<{ readonly dropIn: DropIn }> = async (app, { dropIn: { search } }) => {
  answerErrorsLikeA1111(app)
  const failures = async ({ principal }: FastifyRequest) => await search.failed(principal, mostFailures)
  const listed = (jobs: readonly Job[], entry: (job: Job) => unknown) =>
    ({ jobs: jobs.map(entry), updatedAt: new Date().toISOString() })

  app.get('/public/jobs.json', { config, schema }, async (request, reply) =>
    sendJson(reply, listed(await search.current(request.principal), publicEntry)))

  app.get('/public/failed-jobs.json', { config, schema }, async (request, reply) =>
    sendJson(reply, listed(await failures(request), failureEntry)))

  app.get('/jobs', { config, schema }, async (request, reply) => {
    const current = await search.current(request.principal)
    reply.header('vary', 'Accept')
    if (!/\btext\/html\b/.test(request.headers.accept ?? '')) return sendJson(reply, listed(current, publicEntry))
    const page = renderJobsPage(current.map(publicEntry), (await failures(request)).map(failureEntry))
    return await reply.type('text/html; charset=utf-8').header('cache-control', 'no-store').send(page)
  })

  for (const path of ['/schemas', '/schemas/openapi.spec.yaml', '/schemas/openapi.json']) {
    // JSON is YAML as well.
    app.get(path, { config: { access: 'public' }, schema }, async (_request, reply) => await reply
      .type(path.endsWith('.yaml') ? 'text/yaml; charset=utf-8' : 'application/json; charset=utf-8')
      .send(JSON.stringify(app.swagger())))
  }
}

export default publicRoutes
