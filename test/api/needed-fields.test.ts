import t from 'tap'
import { startService } from '../helper.ts'
import type { Schema } from './arbitrary.ts'
import { readDocument } from './document.ts'

const service = await startService(t, { simulator: { stepMilliseconds: 1 }, settings: { RATE_LIMIT_PER_MINUTE: '0' } })
await service.request('POST', '/api/v1/servers/Main/test')
const { document, operations, resolve, faultOf } = readDocument(service.app)
const { secret } = await service.services.accessKeys.create({ name: 'program', scopes: ['jobs:write', 'models:read'] })

/** Whether an answer says that a field is missing, in the words of its interface. */
const saysMissing = (text: string) => /missing_required_|"type":"missing"|value_error\.missing|Field required/.test(text)

/** A value that fits the schema. */
function sample (given: Schema): unknown {
  const schema = resolve(given)
  if (schema.const !== undefined) return schema.const
  if (Array.isArray(schema.enum)) return schema.enum[0]
  if (Array.isArray(schema.examples)) return schema.examples[0]
  if (schema.anyOf !== undefined) return sample(schema.anyOf[0] ?? {})
  const [type] = [schema.type].flat()
  if (type === 'object') return samplesOf(schema, schema.required ?? [])
  if (type === 'array') return Number(schema.minItems ?? 0) > 0 ? [sample(schema.items as Schema)] : []
  if (type === 'integer' || type === 'number') return schema.minimum ?? 1
  return type === 'boolean' ? true : 'none'
}

const samplesOf = (schema: Schema, names: readonly string[]) =>
  Object.fromEntries(names.map(name => [name, sample(schema.properties?.[name] ?? {})]))

/** Those that can pause the queue come last: others wait for a picture if they have what they need. */
const isOwn = ({ path }: { readonly path: string }) => /^\/(?:api|ui)\//.test(path)

/** Bodies that a handler can find incomplete: one field beside the required ones, and examples without one field. */
function bodiesOf (path: string, schema: Schema): unknown[] {
  const { properties = {}, required = [], examples = [] } = schema
  // None of the many fields of other interfaces replaces another.
  const names = isOwn({ path }) ? Object.keys(properties) : []
  const whole = (examples as Array<Readonly<Record<string, unknown>>>).filter(example => typeof example === 'object')
  return [
    {},
    ...names.map(name => samplesOf(schema, [...required, name])),
    ...whole.flatMap(example => Object.keys(example).map(name =>
      Object.fromEntries(Object.entries(example).filter(([other]) => other !== name))))
  ]
}

t.test('a body that the document allows is never answered with a missing field', async t => {
  let refused = 0
  const sorted = operations.toSorted((one, other) => Number(isOwn(one)) - Number(isOwn(other)))
  for (const { method, path, bodies } of sorted) {
    const schema = bodies['application/json']
    // A1111's own document requires no field of its generations, and clients are generated from both.
    if (schema === undefined || path === '/sdapi/v1/img2img') continue
    const url = path.replaceAll('{alias}', 'Main').replaceAll(/\{\w+\}/g, 'none')
    const headers = path.startsWith('/v1/') ? { authorization: `Bearer ${secret}` } : {}
    const allowed = bodiesOf(path, resolve(schema)).filter(body => faultOf(schema, body) === null)
    refused += bodiesOf(path, resolve(schema)).length - allowed.length
    const incomplete: string[] = []
    for (const body of allowed) {
      const answer = await service.app.inject({
        method: method as 'POST', url: path === '/sdapi/v1/txt2img' ? `${url}?async=1` : url, headers, payload: body as object
      })
      if (saysMissing(answer.body)) incomplete.push(`${JSON.stringify(body)} ${answer.body}`)
    }
    t.same(incomplete, [], `${method} ${path}`)
  }
  t.ok(refused > 20, `${refused} bodies are refused by the document itself`)
})

t.test('a query that the document allows is never answered with a missing parameter', async t => {
  let asked = 0
  for (const { method, path, parameters, bodies, responses } of operations) {
    const inQuery = parameters.filter(parameter => parameter.in === 'query' && !['wait', 'async'].includes(parameter.name))
    // A stream has no end to wait for, and generations wait for theirs.
    if (inQuery.length === 0 || responses[200]?.content?.['text/event-stream'] !== undefined) continue
    const schema = bodies['application/json']
    const url = path.replaceAll('{alias}', 'Main').replaceAll(/\{\w+\}/g, 'none')
    const required = inQuery.filter(parameter => parameter.required === true)
    const queries = [required, ...inQuery.filter(parameter => !required.includes(parameter))
      .map(left => inQuery.filter(parameter => parameter !== left))]
    const incomplete: string[] = []
    for (const query of queries) {
      const text = new URLSearchParams(query.map((parameter): [string, string] =>
        [parameter.name, String(sample(parameter.schema))])).toString()
      const answer = await service.app.inject({
        method: method as 'GET',
        url: `${url}?${text}`,
        ...path.startsWith('/v1/') ? { headers: { authorization: `Bearer ${secret}` } } : {},
        ...schema === undefined ? {} : { payload: sample(schema) as object }
      })
      if (saysMissing(answer.body)) incomplete.push(`?${text} ${answer.body}`)
      asked++
    }
    t.same(incomplete, [], `${method} ${path}`)
  }
  t.ok(asked > 100, `${asked} queries were tried`)
})

t.test('one of several fields is demanded where each of them is enough', async t => {
  const cases: ReadonlyArray<readonly [name: string, enough: readonly object[], tooLittle: readonly object[]]> = [
    ['BulkRequest', [{ prompt: 'a' }, { generation_params: {} }, { generation_info_raw: 'a' }], [{ bulk_quantity: 2 }]],
    ['ParametersToRead', [{ image: 'a' }, { text: 'a' }], [{}]],
    ['SessionOpening', [{ token: 'a' }, { key: 'a', secret: 'a' }], [{ key: 'a' }, { secret: 'a' }]],
    ['ServerInput', [{ alias: 'A', url: 'a' }, { alias: 'A', host: 'a' }], [{ alias: 'A', port: 7860 }, { url: 'a' }]],
    ['WebhookFields', [{ webhook_url: null }], [{}]]
  ]
  for (const [name, enough, tooLittle] of cases) {
    const schema = document.components.schemas[name] ?? {}
    for (const body of enough) t.equal(faultOf(schema, body), null, `${name} ${JSON.stringify(body)}`)
    for (const body of tooLittle) t.not(faultOf(schema, body), null, `${name} ${JSON.stringify(body)}`)
    t.notOk(schema.anyOf, 'some generators drop all properties beside it')
    for (const field of [schema.required, Reflect.get(schema.then ?? {}, 'required')].flat().filter(Boolean)) {
      t.ok(Object.hasOwn(schema.properties ?? {}, String(field)), `${name}.${field} is declared`)
    }
  }
  t.match(document.components.schemas.SessionOpening?.description, /Needs `token`, or `key` and `secret`\.$/)
})
