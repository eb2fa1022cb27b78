import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import { renderJobsPage } from '../../src/sdapi/jobs-page.ts'
import { failureEntry, publicEntry, type Shown } from '../../src/sdapi/words.ts'
import { toOpenapi30 } from '../core/openapi-3-0.ts'
import { answerErrorsLikeA1111 } from './scope.ts'
import { sendJson } from './call.ts'

const mostFailures = 20
const config = { access: { scope: 'jobs:read', bucket: 'status' }, credentials: 'a1111' } as const
const schema = { hide: true }

/** What async-proxy shows at the root; here to whoever may see jobs, and only those that are theirs. */
const publicRoutes: FastifyPluginAsync = async app => {
  const { jobSearch: search } = app

  answerErrorsLikeA1111(app)
  const failures = async ({ principal }: FastifyRequest) => await search.failed(principal, mostFailures)
  const listed = (jobs: readonly Shown[], entry: (job: Shown) => unknown) =>
    ({ jobs: jobs.map(entry), updatedAt: new Date().toISOString() })

  app.get('/public/jobs.json', { config, schema }, async (request, reply) =>
    sendJson(reply, listed(await search.current(request.principal), publicEntry)))

  app.get('/public/failed-jobs.json', { config, schema }, async (request, reply) =>
    sendJson(reply, listed(await failures(request), failureEntry)))

  // Only browsers come here; `/jobs/…` and other ways of asking are those of the mobile interface.
  app.addConstraintStrategy(wantsPage)
  app.get('/jobs', { config, schema, constraints: { [wantsPage.name]: 'page' } }, async (request, reply) => {
    const current = await search.current(request.principal)
    const page = renderJobsPage(current.map(publicEntry), (await failures(request)).map(failureEntry))
    return await reply.type('text/html; charset=utf-8').headers({ vary: 'Accept', 'cache-control': 'no-store' }).send(page)
  })

  // JSON is YAML as well.
  const documents = {
    '/schemas': app.swagger,
    '/schemas/openapi.json': app.swagger,
    '/schemas/openapi.spec.yaml': app.swagger,
    '/schemas/openapi-3.0.json': () => toOpenapi30(app.swagger())
  }
  for (const [path, document] of Object.entries(documents)) {
    app.get(path, { config: { access: 'public' }, schema }, async (_request, reply) => await reply
      .type(path.endsWith('.yaml') ? 'text/yaml; charset=utf-8' : 'application/json; charset=utf-8')
      .send(JSON.stringify(document())))
  }
}

export default publicRoutes

type Strategy = Parameters<FastifyInstance['addConstraintStrategy']>[0]
type Route = Parameters<ReturnType<Strategy['storage']>['set']>[1]

/** Routes under this constraint are only for who asks for HTML; where there is another, all others get that one. */
const wantsPage: Strategy = {
  name: 'reader',
  storage () {
    const routes = new Map<unknown, Route>()
    return { get: reader => routes.get(reader) ?? null, set: (reader, route) => { routes.set(reader, route) } }
  },
  deriveConstraint: request => /\btext\/html\b/i.test(request.headers.accept ?? '') ? 'page' : 'program',
  validate () { /* written here only */ },
  mustMatchWhenDerived: false
}
