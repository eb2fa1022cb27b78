import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import { renderJobsPage } from '../../src/sdapi/job-search.ts'
import { failureEntry, publicEntry, type Shown } from '../../src/sdapi/status-mapping.ts'
import { documentAt } from '../core/openapi.ts'
import { sendJson } from './call.ts'
import { answerErrorsLikeA1111 } from './scope.ts'

type Node = Readonly<Record<string, unknown>>

/**
 * The same document as OpenAPI 3.0.3, for generators that know no newer one. Webhooks, which 3.0 does not have, are
 * left out.
 */
function toOpenapi30 (document: object): object {
  const { webhooks: _webhooks, info, ...rest } = document as Node
  const { license, ...about } = info as Node
  const { identifier: _identifier, ...licence } = license as Node
  return { ...walk(rest) as Node, openapi: '3.0.3', info: { ...about, license: licence } }
}

/** Walks through everything that is no schema itself, to the schemas in it. */
function walk (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(walk)
  if (!isNode(value)) return value
  return mapped(value, (inner, name) => {
    if (name === 'schema') return downConvert(inner)
    if (name === 'schemas' && isNode(inner)) return mapped(inner, downConvert)
    return name === 'example' || name === 'examples' ? inner : walk(inner)
  })
}

/** Keywords whose value is a schema, a list of schemas, or schemas by name. */
const nested = new Set(['items', 'additionalProperties', 'not', 'anyOf', 'oneOf', 'allOf'])

function downConvert (value: unknown): unknown {
  if (!isNode(value)) return value
  const { type, anyOf, oneOf, const: only, examples, required, $id: _id, if: condition, then, ...others } = value
  const plain = mapped(others, (inner, name) => {
    if (name === 'properties' && isNode(inner)) return mapped(inner, downConvert)
    return nested.has(name) ? schemas(inner) : inner
  })
  return {
    ...plain,
    ...(Array.isArray(examples) && examples.length > 0 && !('example' in plain) ? { example: examples[0] } : {}),
    ...(only === undefined ? {} : { enum: [only] }),
    ...(Array.isArray(required) && required.length > 0 ? { required } : {}),
    ...limit('minimum', 'exclusiveMinimum', plain),
    ...limit('maximum', 'exclusiveMaximum', plain),
    ...typeOf(type, plain),
    ...choice('anyOf', anyOf),
    ...choice('oneOf', oneOf),
    ...demand(condition, then, plain)
  }
}

/** 3.0 has no conditions: `if` not one list of fields `then` the other is one of both. */
function demand (condition: unknown, then: unknown, { allOf = [] }: Node): Node {
  if (!isNode(condition)) return {}
  return { allOf: [...allOf as unknown[], { anyOf: [condition.not, then] }] }
}

function schemas (value: unknown): unknown {
  return Array.isArray(value) ? value.map(downConvert) : downConvert(value)
}

/** 3.0 knows one type, and null only as an addition to it. */
function typeOf (type: unknown, { items = {} }: Node): Node {
  if (!Array.isArray(type)) return type === 'null' ? { nullable: true, enum: [null] } : type === undefined ? {} : { type }
  const nullable = type.includes('null') ? { nullable: true } : {}
  const types = type.filter(name => name !== 'null')
  if (types.length === 1) return { type: types[0], ...nullable }
  return { anyOf: types.map(name => ({ type: name, ...nullable, ...(name === 'array' ? { items } : {}) })) }
}

/** A separate number becomes a flag in 3.0, which excludes the limit itself. */
function limit (name: string, exclusive: string, { [exclusive]: value }: Node): Node {
  return typeof value === 'number' ? { [name]: value, [exclusive]: true } : {}
}

function choice (name: string, branches: unknown): Node {
  if (!Array.isArray(branches)) return {}
  const others = branches.filter(branch => !isNode(branch) || branch.type !== 'null').map(downConvert)
  if (others.length === branches.length) return { [name]: others }
  const [first] = others
  if (others.length === 1 && isNode(first) && !('$ref' in first)) return { ...first, nullable: true }
  return others.length === 1 ? { allOf: others, nullable: true } : { [name]: others.map(nullable) }
}

/** A reference allows nothing beside it. */
function nullable (branch: unknown): unknown {
  if (!isNode(branch)) return branch
  return '$ref' in branch ? { allOf: [branch], nullable: true } : { ...branch, nullable: true }
}

function mapped (node: Node, change: (value: unknown, name: string) => unknown): Node {
  return Object.fromEntries(Object.entries(node).map(([name, value]) => [name, change(value, name)]))
}

function isNode (value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const maxFailures = 20
const config = { access: { scope: 'jobs:read', bucket: 'status' }, credentials: 'a1111' } as const
const schema = { hide: true }

/** async-proxy's list at the root; here for clients that can see jobs, and only their own. */
const publicRoutes: FastifyPluginAsync = async app => {
  const { jobSearch: search } = app

  answerErrorsLikeA1111(app)
  const failures = async ({ principal }: FastifyRequest) => await search.failed(principal, maxFailures)
  const listed = (jobs: readonly Shown[], entry: (job: Shown) => unknown) =>
    ({ jobs: jobs.map(entry), updatedAt: new Date().toISOString() })

  app.get('/public/jobs.json', { config, schema }, async (request, reply) =>
    sendJson(reply, listed(await search.current(request.principal), publicEntry)))

  app.get('/public/failed-jobs.json', { config, schema }, async (request, reply) =>
    sendJson(reply, listed(await failures(request), failureEntry)))

  // Only browsers come here; `/jobs/…` and other requests are those of the mobile interface.
  app.addConstraintStrategy(wantsPage)
  app.get('/jobs', { config, schema, constraints: { [wantsPage.name]: 'page' } }, async (request, reply) => {
    const current = await search.current(request.principal)
    const page = renderJobsPage(current.map(publicEntry), (await failures(request)).map(failureEntry))
    return await reply.type('text/html; charset=utf-8').headers({ vary: 'Accept', 'cache-control': 'no-store' }).send(page)
  })

  // JSON is YAML as well.
  const documents = {
    '/schemas': () => app.swagger(),
    '/schemas/openapi.json': () => app.swagger(),
    '/schemas/openapi.spec.yaml': () => app.swagger(),
    '/schemas/openapi-3.0.json': () => toOpenapi30(app.swagger())
  }
  for (const [path, document] of Object.entries(documents)) {
    app.get(path, { config: { access: 'public' }, schema }, async ({ base }, reply) => await reply
      .type(path.endsWith('.yaml') ? 'text/yaml; charset=utf-8' : 'application/json; charset=utf-8')
      .send(JSON.stringify(documentAt(document(), base))))
  }
}

export default publicRoutes

type Strategy = Parameters<FastifyInstance['addConstraintStrategy']>[0]
type Route = Parameters<ReturnType<Strategy['storage']>['set']>[1]

/**
 * Routes under this constraint are only for requests for HTML; if there is another route, all other requests get that
 * one.
 */
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
