import t from 'tap'
import { readDocument } from '../api/document.ts'
import { startService } from '../helper.ts'

const service = await startService(t, { worker: 'none' })
const { document, operations } = readDocument(service.app)

interface Node { readonly [name: string]: unknown }
interface Place { readonly at: string, readonly schema: Node, readonly where: 'request' | 'answer' | 'parameter' | 'shared' }

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && !Array.isArray(value)
const nodes = (value: unknown): Node[] => Array.isArray(value) ? value.filter(isNode) : []
const fields = (schema: Node) => Object.entries(isNode(schema.properties) ? schema.properties : {})
  .filter((entry): entry is [string, Node] => isNode(entry[1]))
/** How generators see a name, whatever the casing of their language. */
const plain = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
/** Those that a generator cannot distinguish, each with its place. */
function sameNames (names: ReadonlyArray<readonly [name: string, at: string]>): string[][] {
  const groups = new Map<string, string[]>()
  for (const [name, at] of names) groups.set(plain(name), [...groups.get(plain(name)) ?? [], at])
  return [...groups.values()].filter(group => group.length > 1)
}

/** A schema and all in it. */
function within (schema: Node, at: string, where: Place['where']): Place[] {
  const inner: Array<[string, Node]> = [
    ...fields(schema),
    ...['items', 'additionalProperties'].flatMap((name): Array<[string, Node]> =>
      isNode(schema[name]) ? [[name, schema[name]]] : []),
    ...['anyOf', 'oneOf', 'allOf'].flatMap(name => nodes(schema[name]).map((one, index): [string, Node] => [`${name}${index}`, one]))
  ]
  return [{ at, schema, where }, ...inner.flatMap(([name, one]) => within(one, `${at}.${name}`, where))]
}

const named = Object.entries(document.components.schemas)
const places: readonly Place[] = [
  ...named.flatMap(([name, schema]) => within(schema, name, 'shared')),
  ...operations.flatMap(({ operationId = '', parameters, bodies, responses }) => [
    ...parameters.flatMap(({ name, schema }) => within(schema, `${operationId} ?${name}`, 'parameter')),
    ...Object.values(bodies).flatMap(schema => within(schema, operationId, 'request')),
    ...Object.entries(responses).flatMap(([status, { content = {} }]) =>
      Object.values(content).flatMap(({ schema = {} }) => within(schema, `${operationId} ${status}`, 'answer')))
  ])
]
const faulty = (isFaulty: (place: Place) => boolean) => places.filter(isFaulty).map(({ at }) => at)
const isSimple = ({ type }: Node) => ['string', 'integer', 'number', 'boolean'].includes(String(type))

t.test('names are distinct in the casing of every language', async t => {
  t.same(sameNames(operations.map(({ operationId = '' }) => [operationId, operationId])), [], 'operation ids')
  const properties = named.flatMap(([name, schema]) => fields(schema).map(([field]): [string, string] =>
    [name + field, `${name}.${field}`]))
  t.same(sameNames([...named.map(([name]): [string, string] => [name, name]), ...properties]), [], 'schemas with properties')
  t.same(faulty(({ schema }) => sameNames(fields(schema).map(([name]) => [name, name])).length > 0), [], 'properties')
  const parameters = operations.flatMap(({ operationId, parameters }) =>
    sameNames(parameters.map(({ name }) => [name, `${operationId} ${name}`])))
  t.same(parameters, [], 'parameters')
  const values = faulty(({ schema }) => Array.isArray(schema.enum) &&
    new Set(schema.enum.map(value => String(value).toLowerCase())).size < schema.enum.length)
  t.same(values, [], 'values')
})

t.test('no schema is called like a built-in of a language', async t => {
  const builtIns = ['Error', 'Event', 'Warning', 'Object', 'Map', 'Set', 'Array', 'String', 'File', 'Request', 'Response', 'Date']
  t.same(named.map(([name]) => name).filter(name => builtIns.includes(name)), [])
})

t.test('operation ids name a thing and what is done with it', async t => {
  for (const { operationId = '', tags = [] } of operations) {
    const others = tags.includes('A1111') || tags.includes('Studio')
    t.match(operationId, others ? /^(?:a1111|studio)_[a-z0-9_]+$/ : /^[a-z]\w*\.[a-z]\w*$/)
  }
})

t.test('a value has one type', async t => {
  t.same(faulty(({ schema: { type } }) => Array.isArray(type) && (type.length > 2 || (type.length === 2 && type[1] !== 'null'))), [],
    'or null')
  t.same(faulty(({ schema }) => nodes(schema.anyOf).filter(isSimple).length > 1), [], 'no union of simple types')
  t.same(faulty(({ schema }) => nodes(schema.anyOf).some(one => Object.keys(one).length === 0)), [], 'no union with anything')
  t.same(faulty(({ schema: { type, enum: values } }) =>
    type === 'null' || (Array.isArray(values) && values.every(value => value === null))).filter(at => !/anyOf\d$/.test(at)), [],
  'no value that is always null')
  t.same(faulty(({ schema }) => schema.format === 'uint64'), [], 'seeds have a format that generators know')
  t.same(faulty(({ schema: { type, enum: values, const: value, maximum, format } }) =>
    [type].flat().includes('integer') && values === undefined && value === undefined && format !== 'int64' &&
    !(typeof maximum === 'number' && maximum < 2 ** 31)), [], 'integers that can pass 2^31 say so')
  t.same(faulty(({ schema: { maximum, format } }) => format === 'int64' && typeof maximum === 'number' && maximum < 2 ** 31), [],
    'and no others')
  t.same(faulty(({ schema }) => schema.type === 'boolean' && schema.enum !== undefined), [], 'no enum of booleans')
})

t.test('no property is required for its default', async t => {
  t.same(faulty(({ schema, where }) => schema.default !== undefined && where !== 'parameter'), [])
  const { steps } = document.components.schemas.StudioTxt2imgRequest?.properties ?? {}
  t.match(steps?.description, /Default: \d+\.$/, 'the description has it')
})

t.test('examples fit their schemas', async t => {
  const typeOf = (value: unknown) => value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
  const wrong = faulty(({ schema: { type, examples } }) => {
    const types = [type].flat().map(name => name === 'integer' ? 'number' : name)
    return Array.isArray(examples) && type !== undefined && examples.some(example => !types.includes(typeOf(example)))
  })
  t.same(wrong, [])
})

t.test('each operation has a path, a body and answers that generators can read', async t => {
  for (const { method, path, bodies, responses } of operations) {
    const name = `${method} ${path}`
    t.notMatch(path, /\*/, name)
    t.ok(Object.keys(bodies).length <= 1, `${name} has one type of body`)
    t.ok(Object.keys(responses).some(status => /^2/.test(status)), `${name} can succeed`)
    for (const { content } of Object.values(responses)) {
      const types = Object.keys(content ?? {})
      const isBinary = types.some(type => /^(?:image|video|application\/zip)\b/.test(type))
      t.ok(types.length <= 1 || (isBinary && types.includes('application/octet-stream')), `${name} ${types.join()}`)
    }
    for (const [status, { content = {} }] of Object.entries(responses).filter(([status]) => status >= '400')) {
      t.ok(Object.keys(content).every(type => type === 'application/json'), `${name} answers ${status} in JSON`)
    }
    if (path.includes('{')) t.ok('414' in responses, `${name} can be too long`)
    if (/^\/api\//.test(path)) t.ok(['400', '401', '403', '500'].every(status => status in responses), `${name} says how it fails`)
  }
})

t.test('the older of two operations is deprecated and names the newer', async t => {
  const byPlace = new Map(operations.map(operation => [`${operation.method} ${operation.path}`, operation]))
  const isDeprecated = (place: string) => Reflect.get(byPlace.get(place) ?? {}, 'deprecated') === true
  for (const [place, { description = '' }] of byPlace) {
    const [, newer = ''] = /^Use `([^`]+)` instead/.exec(description) ?? []
    if (!isDeprecated(place)) t.equal(newer, '', place)
    else t.ok(byPlace.has(newer) && !isDeprecated(newer), `${place} is replaced by ${newer}`)
  }
  for (const place of ['POST /api/v1/generate', 'GET /api/v1/jobs', 'PATCH /api/v1/queue/jobs/{jobId}', 'GET /api/v2/queue/jobs',
    'POST /api/v2/jobs/{jobId}/dispatch', 'PUT /api/v1/servers/{alias}', 'POST /api/v1/downloads/queue']) {
    t.ok(isDeprecated(place), place)
  }
})

t.test('what the document leaves out is still accepted', async t => {
  const parameters = { prompt: 'a lighthouse', steps: '2', width: 64, height: 64 }
  const url = 'https://example.com/hook'
  for (const name of ['webhookUrl', 'webhook_url']) {
    const { status } = await service.request('POST', '/sdapi/v1/txt2img?async=1', { ...parameters, [name]: url })
    t.equal(status, 202, name)
  }
  t.equal((await service.request('GET', '/api/v2/jobs?order=ASC')).status, 200)
  const form = new FormData()
  form.set('target_server_alias', 'default')
  form.set('generation_params', JSON.stringify(parameters))
  t.equal((await fetch(`${service.url}/api/v2/generate`, { method: 'POST', body: form })).status, 202)
})

t.test('events are callbacks of what names a receiver, because generators write operations for webhooks', async t => {
  t.notOk('webhooks' in document)
  for (const id of ['jobs.submit', 'webhooks.test']) {
    const { callbacks } = operations.find(({ operationId }) => operationId === id) as unknown as { callbacks: object }
    t.match(JSON.stringify(callbacks), /webhook_url.*webhook-signature.*WebhookEvent/, id)
  }
  const names = [...JSON.stringify(document).matchAll(/"callbacks":\{"(\w+)"/g)].map(([, name]) => name)
  t.same(names, [...new Set(names)], 'each has a name of its own, because generators make types of it')
  t.match(document.components.schemas.WebhookEvent, { type: 'object' })
})

t.test('a stream of events can be read as text', async t => {
  const streams = operations.flatMap(({ responses }) => responses[200]?.content?.['text/event-stream'] ?? [])
  t.ok(streams.length > 0)
  for (const { schema } of streams) t.match(schema, { anyOf: [{ type: 'string' }, { $ref: /EventView/ }] })
})

t.test('an address that is too long gets 414', async t => {
  t.match(await service.request('GET', `/api/v2/jobs/${'a'.repeat(600)}`), { status: 414, body: { error: 'uri_too_long' } })
})

t.test('a wrong method at a known path gets 405 and the right ones', async t => {
  const cases: ReadonlyArray<readonly [method: string, path: string, allow: RegExp]> = [
    ['GET', '/api/v2/generate', /^POST$/],
    ['DELETE', '/api/v1/servers', /^GET, POST$/],
    ['PUT', '/api/v2/jobs/some-job', /^GET, PATCH, DELETE$/],
    ['POST', '/api/v2/jobs/some-job/?wait=1', /^GET, PATCH, DELETE$/],
    ['GET', '/api/v2/jobs/some-job/cancel', /^POST$/],
    ['POST', '/openapi.json', /^GET$/],
    ['GET', '/sdapi/v1/txt2img', /^POST$/],
    ['PUT', '/sdapi/v1/job/some-job', /^GET/],
    ['POST', '/presets/ann/some-preset', /^GET, PUT, PATCH, DELETE$/]
  ]
  for (const [method, path, allow] of cases) {
    const answer = await service.request(method, path)
    t.equal(answer.status, 405, `${method} ${path}`)
    t.match(answer.headers.get('allow'), allow, path)
  }
  t.match((await service.request('GET', '/api/v2/generate')).body, {
    success: false, error: 'method_not_allowed', message: /POST/, details: { allowed: ['POST'] }
  })
  t.equal((await service.request('GET', '/api/v2/nothing')).status, 404)
  const bodies: ReadonlyArray<readonly [method: string, body: string | undefined, headers: Record<string, string>]> = [
    ['QUERY', undefined, {}],
    ['PUT', '{', {}],
    ['PUT', 'some text', { 'content-type': 'nonsense' }],
    ['PUT', '<a/>', { 'content-type': 'text/xml' }]
  ]
  for (const path of ['/api/v2/generate', '/sdapi/v1/txt2img', '/generate/txt2img']) {
    for (const [method, body, headers] of bodies) {
      const { statusCode, headers: { allow } } = await service.app.inject({
        method: method as 'PUT', url: path, ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json', ...headers } })
      })
      t.same([statusCode, allow], [405, 'POST'], `${method} ${path} ${body}`)
    }
  }
})
