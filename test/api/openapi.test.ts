import { Validator } from '@seriousme/openapi-schema-validator'
import fc from '../property.ts'
import t from 'tap'
import { compileWaiting } from '../../plugins/core/validation.ts'
import { webhookFields } from '../../schemas/webhook.ts'
import { generationModel } from '../../src/a1111/request-model.ts'
import { startService } from '../helper.ts'
import { valuesOf } from './arbitrary.ts'
import { readDocument, undescribed, type Operation } from './document.ts'

const service = await startService(t, { worker: 'none' })
await service.request('POST', '/api/v1/servers/Main/test')
const { document, operations, resolve, faultOf } = readDocument(service.app)
/** Interfaces with a document of our own; other programs' interfaces follow theirs. */
const own = operations.filter(({ path, tags = [] }) =>
  /^\/(api|outputs|ui|health|ready|status)\b/.test(path) || tags.includes('Studio'))
const nameOf = ({ method, path }: Operation) => `${method} ${path}`

t.test('every schema compiles, also those that no request has used yet', async t => {
  t.doesNotThrow(compileWaiting)
})

t.test('the document is valid OpenAPI and describes the served routes', async t => {
  const copy = JSON.parse(JSON.stringify(document)) as Record<string, unknown>
  const { valid, errors } = await new Validator().validate(copy)
  t.ok(valid, JSON.stringify(errors))
  t.same((await service.request('GET', '/openapi.json')).body, document)
  for (const path of ['/doc/', '/docs/']) {
    t.match((await service.request('GET', path)).body.text, /swagger-ui/i, path)
  }
})

t.test('every operation has a name of its own, a summary and a tag; its answers are described', async t => {
  const ids = operations.map(({ operationId }) => operationId)
  t.equal(new Set(ids).size, operations.length)
  const tags = new Set(document.tags.map(({ name }) => name))
  for (const operation of operations) {
    const { operationId, summary, tags: given = [] } = operation
    t.ok(operationId && summary && given.length > 0 && given.every(tag => tags.has(tag)), nameOf(operation))
  }
  for (const operation of operations) {
    const descriptions = Object.values(operation.responses).map(({ description }) => description)
    t.notOk(descriptions.some(description => !description || description === 'Default Response'), nameOf(operation))
  }
})

t.test('every field and every parameter is described', async t => {
  const ofOperation = (operation: Operation): string[] => {
    const answers = Object.values(operation.responses).flatMap(({ content = {} }) => Object.values(content))
    const schemas = [...Object.values(operation.bodies), ...answers.map(({ schema = {} }) => schema)]
    return [
      ...operation.parameters.filter(({ description }) => !description).map(({ name }) => `${nameOf(operation)} ?${name}`),
      ...schemas.flatMap(schema => undescribed(schema, nameOf(operation)))
    ]
  }
  const shared = Object.entries(document.components.schemas)
  const fields = [...shared.flatMap(([name, schema]) => undescribed(schema, name)), ...own.flatMap(ofOperation)]
  t.same([...new Set(fields)], [])
})

/** Existing values for the parameters of a path. */
async function places (): Promise<(path: string) => string> {
  const parameters = { prompt: 'a lighthouse', steps: 2, width: 64, height: 64 }
  const jobId = await service.submit(parameters)
  const bulk = await service.request('POST', '/api/v2/generate/bulk', {
    target_server_alias: 'Main', generation_params: parameters, bulk_quantity: 1
  })
  const { body: batch } = await service.request('POST', '/generate/batch', {
    user_id: 'ann', base_request: parameters, variations: [{ seed: 1 }]
  })
  const { body: preset } = await service.request('POST', '/presets/ann', { name: 'small', config: parameters })
  const { accessKey } = await service.services.accessKeys.create({ name: 'example' })
  return path => path.replace('{jobId}', jobId).replace('{alias}', 'Main')
    .replace('{bulkId}', String(bulk.body.bulk_job_id))
    .replace('{user_id}', 'ann').replace('{preset_id}', String(preset.preset_id))
    .replace('{job_id}', jobId).replace('{batch_id}', String(batch.batch_id))
    .replace('{id}', path.startsWith('/api/v1/api-keys') ? accessKey.id : 'none')
}

t.test('every example of a request body works', async t => {
  const at = await places()
  let tried = 0
  for (const operation of own) {
    const schema = resolve(operation.bodies['application/json'] ?? {})
    for (const example of (schema.examples ?? []) as unknown[]) {
      const path = at(operation.path)
      if (path.includes('none')) continue
      const { status, body } = await service.request(operation.method, path, example)
      const wentWell = (status >= 200 && status < 300) || body.error === 'setup_already_done'
      t.ok(wentWell, `${nameOf(operation)}: ${status} ${JSON.stringify(body)}`)
      tried++
    }
  }
  t.ok(tried >= 8, `${tried} were tried`)
})

t.test('every example of a generation parameter is accepted', async t => {
  const { properties = {} } = document.components.schemas.GenerationParameters ?? {}
  const image = (resolve(properties.init_images ?? {}).examples as unknown[])[0]
  for (const [name, field] of Object.entries(properties)) {
    for (const example of (resolve(field).examples ?? []) as unknown[]) {
      const usual = { prompt: 'a lighthouse', init_images: image }
      const more = name === 'type' ? { raw_payload: { data: ['a lighthouse'] } } : usual
      const { status, body } = await service.request('POST', '/api/v2/generate', {
        target_server_alias: 'Main', on_missing: 'ignore', generation_params: { ...more, [name]: example }
      })
      t.equal(status, 202, `${name}: ${JSON.stringify(body)}`)
    }
  }
})

t.test('the drop-in\'s generations list all of A1111\'s fields, and the examples work', async t => {
  for (const mode of ['txt2img', 'img2img'] as const) {
    const path = `/sdapi/v1/${mode}`
    const schema = resolve(operations.find(operation => operation.path === path)?.bodies['application/json'] ?? {})
    const documented = Object.keys(schema.properties ?? {})
    const known = [...Object.keys(generationModel(mode, 'forge')), ...Object.keys(webhookFields).filter(name => !/[A-Z]/.test(name)), 'meta']
    t.strictSame(known.filter(name => !documented.includes(name)), [], 'accepted fields are documented')
    t.strictSame(documented.filter(name => !known.includes(name)), [], 'and nothing else')
    t.strictSame([schema.required, schema.additionalProperties], [undefined, true])
    for (const example of schema.examples as unknown[]) {
      t.match(await service.request('POST', `${path}?async=1`, example), { status: 202, body: { uuid: String } })
    }
  }
})

t.test('for any input the answer is a documented one, and never an internal error', async t => {
  const at = await places()
  const last = (one: Operation) => Number(one.method === 'DELETE')
  // Without a worker the service is not ready, as it should be; a stream has no end to wait for.
  const streams = ({ responses }: Operation) => responses[200]?.content?.['text/event-stream'] !== undefined
  const others = own.filter(operation => operation.path !== '/ready' && !streams(operation))
  for (const operation of others.toSorted((one, other) => last(one) - last(other))) {
    const { method, path, parameters, bodies, responses } = operation
    // No job ends here, so a wait for one takes its longest time.
    const inQuery = parameters.filter(parameter => parameter.in === 'query' && parameter.name !== 'wait')
    const inPath = parameters.filter(parameter => parameter.in === 'path')
    const known = at(path).split('/')
    const fields = inQuery.map(({ name, schema }): [string, fc.Arbitrary<unknown>] => [name, valuesOf(schema, resolve)])
    const query = fc.record(Object.fromEntries(fields), { requiredKeys: [] })
    const segments = fc.tuple(...inPath.map(({ name }) => fc.oneof(
      fc.constant(known[path.split('/').indexOf(`{${name}}`)] ?? ''),
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 70 }))))
    const type = 'application/json'
    const json = bodies[type]
    const body = json === undefined ? fc.constant(undefined) : valuesOf(json, resolve)
    await fc.assert(fc.asyncProperty(query, segments, body, async (queries, values, payload) => {
      const url = inPath.reduce((text, { name }, index) =>
        text.replace(`{${name}}`, () => encodeURIComponent(values[index] ?? '')), path)
      const text = new URLSearchParams(Object.entries(queries).map(([name, value]) =>
        [name, typeof value === 'string' ? value : JSON.stringify(value)] as [string, string])).toString()
      const answer = await service.app.inject({
        method: method as 'GET',
        url: text === '' ? url : `${url}?${text}`,
        ...(payload === undefined ? {} : { payload: JSON.stringify(payload), headers: { 'content-type': type } })
      })
      const declared = responses[answer.statusCode]
      const documented = `${method} ${url} answers ${answer.statusCode} ${answer.body.slice(0, 500)}`
      if (answer.statusCode >= 500 && answer.statusCode !== 502) throw new Error(documented)
      if (declared === undefined) throw new Error(`${documented}, which is not documented`)
      const schema = declared.content?.['application/json']?.schema
      const fault = schema === undefined || answer.body === '' ? null : faultOf(schema, answer.json())
      if (fault !== null) throw new Error(`${documented}: ${fault}`)
    }), { numRuns: 4, seed: 20_261_121, endOnFailure: true, includeErrorInReport: true })
    t.pass(nameOf(operation))
  }
})
