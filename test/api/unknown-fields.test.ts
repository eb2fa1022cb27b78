import t from 'tap'
import { startService } from '../helper.ts'
import type { Schema } from './arbitrary.ts'
import { readDocument, type Operation } from './document.ts'

const service = await startService(t, { worker: 'none' })
const { request } = service
const { operations, resolve } = readDocument(service.app)
const changing = operations.filter(({ method, path }) => method !== 'GET' && path.startsWith('/api/'))
const nameOf = ({ method, path }: Operation) => `${method} ${path}`
/** Submissions only warn about unknown fields, because several programs send fields of their own. */
const submits = ({ path }: Operation) => /\/generate(\/bulk)?$/.test(path)
const at = (path: string) => path.replace('{alias}', 'Main').replace(/\{\w+\}/g, 'none')

/** The object schemas within a schema. */
function objectsOf (schema: Schema): Schema[] {
  const found = resolve(schema)
  return found.anyOf === undefined ? (found.type === 'null' ? [] : [found]) : found.anyOf.flatMap(objectsOf)
}

t.test('no route that changes something accepts a body with an unknown field', async t => {
  for (const operation of changing.filter(operation => !submits(operation))) {
    const body = operation.bodies['application/json']
    for (const schema of body === undefined ? [] : objectsOf(body)) {
      t.equal(schema.additionalProperties, false, `${nameOf(operation)} is documented so`)
    }
    const { status, body: answer } = await request(operation.method, at(operation.path), { surprise: 1 })
    const { fields = [], field } = answer.details as { field?: string, fields?: Array<{ field: string }> }
    t.equal(status, 400, `${nameOf(operation)}: ${JSON.stringify(answer)}`)
    t.ok([field, ...fields.map(({ field }) => field)].includes('surprise'), `${nameOf(operation)} names it`)
  }
})

t.test('no route of the API accepts an unknown parameter; those against caches are allowed', async t => {
  for (const operation of operations.filter(({ path }) => path.startsWith('/api/'))) {
    const body = submits(operation) ? { target_server_alias: 'Main' } : undefined
    t.match(await request(operation.method, `${at(operation.path)}?surprise=1`, body), {
      status: 400, body: { error: 'invalid_field_value', details: { field: 'surprise' } }
    }, nameOf(operation))
  }
  for (const name of ['_', 't', 'ts', 'nocache', '_cb']) {
    t.equal((await request('GET', `/api/v2/jobs?${name}=1764110000000`)).status, 200, name)
  }
})

t.test('the error suggests the most similar name', async t => {
  const wrong: Array<[method: string, path: string, body: object | undefined, field: string, nearest: string]> = [
    ['GET', '/api/v2/jobs?statuss=failed', undefined, 'statuss', 'status'],
    ['GET', '/api/v1/gallery?sever=Main', undefined, 'sever', 'server'],
    ['GET', '/api/v1/models?base_model=SDXL', undefined, 'base_model', 'baseModel'],
    ['DELETE', '/api/v1/servers/Main?job=move', undefined, 'job', 'jobs'],
    ['PUT', '/api/v1/servers/Main', { enable: false }, 'enable', 'enabled'],
    ['PUT', '/api/v1/servers/Main', { auth: { usr: 'ann' } }, 'auth.usr', 'auth.user'],
    ['POST', '/api/v1/api-keys', { name: 'a', scope: ['jobs:read'] }, 'scope', 'scopes'],
    ['POST', '/api/v1/api-keys', { name: 'a', drop_in: { anser: 'async' } }, 'drop_in.anser', 'drop_in.answer'],
    ['POST', '/api/v1/webhooks/redeliver', { since: '2026-01-01T00:00:00Z', endpiont: 'x' }, 'endpiont', 'endpoint'],
    ['POST', '/api/v1/downloads/cleanup', { days_to_keep: 30 }, 'days_to_keep', 'daysToKeep'],
    ['PATCH', '/api/v2/jobs/none', { prioritty: 1 }, 'prioritty', 'priority']
  ]
  for (const [method, path, body, field, nearest] of wrong) {
    const answer = await request(method, path, body)
    t.match(answer, { status: 400, body: { details: { field } } }, path)
    t.match(answer.body, { message: new RegExp(`did you mean ${nearest.replace('.', '\\.')}\\?`) })
    t.equal((answer.body.details as { nearest: string[] }).nearest[0], nearest)
  }
})

t.test('fields of older clients are known', async t => {
  const server = {
    alias: 'Old', host: '127.0.0.1', port: 9, description: 'old', auth: null, authUser: 'ann', authPass: 'x', username: 'ann', password: 'x'
  }
  t.equal((await request('POST', '/api/v1/servers', server)).status, 201)
  t.equal((await request('PUT', '/api/v1/servers/Old', { ...server, apiUrl: 'http://127.0.0.1:9' })).status, 200)
  const key = {
    permissions: '{}', rate_limit_tier: 'extended', custom_rate_limits: { minute: 3 }, description: 'old', is_active: false
  }
  const made = await request('POST', '/api/v1/api-keys', { name: 'old', ...key })
  t.match(made, { status: 201, body: { api_key: { is_active: false } } }, 'a key that is made switched off is')
  const { id } = made.body.api_key as { id: string }
  t.match(await request('PUT', `/api/v1/api-keys/${id}`, { ...key, is_active: 1 }), { status: 200, body: { api_key: { is_active: true } } })
})

t.test('submissions warn about fields that nothing reads, and strict ones reject them', async t => {
  const parameters = { prompt: 'a lighthouse', steps: 2, width: 64, height: 64 }
  const usual = { target_server_alias: 'Main', generation_params: parameters }
  const cases: Array<[path: string, name: string, nearest: string]> = [
    ['/api/v2/generate', 'priorty', 'priority'],
    ['/api/v1/generate', 'webhookURL', 'webhookUrl'],
    ['/api/v2/generate', 'count', 'generation_params.n_iter'],
    ['/api/v2/generate', 'stpes', 'generation_params.steps'],
    ['/api/v2/generate', 'target_server', 'target_server_alias'],
    ['/api/v2/generate/bulk', 'cuont', 'bulk_quantity'],
    ['/api/v2/generate/bulk', 'count', 'bulk_quantity']
  ]
  for (const [path, name, nearest] of cases) {
    const said = new RegExp(`${name} is not a known field; did you mean ${nearest}\\?`)
    t.match(await request('POST', path, { ...usual, [name]: 2 }),
      { status: 202, body: { warnings: [{ code: 'unknown_field_ignored', field: name, message: said }] } }, name)
    t.match(await request('POST', path, { ...usual, [name]: 2, strict: true }), {
      status: 400, body: { error: 'invalid_field_value', message: said, details: { field: name, nearest: [nearest] } }
    }, `strict: ${name}`)
  }
  const misspelt = { ...usual, generation_params: { ...parameters, stpes: 3 } }
  t.match((await request('POST', '/api/v2/generate', misspelt)).body,
    { warnings: [{ code: 'unknown_parameters_ignored', message: /stpes \(did you mean steps\?\)/ }] })
  for (const path of ['/api/v2/generate', '/api/v2/generate/bulk']) {
    t.match(await request('POST', path, { ...misspelt, strict: true }), {
      status: 400,
      body: { message: /^generation_params\.stpes /, details: { field: 'generation_params.stpes', nearest: ['steps'] } }
    })
  }
  t.match(await request('POST', '/api/v2/generate', { ...usual, strict: true }), { status: 202, body: { warnings: [] } })
  t.match(await request('POST', '/api/v2/generate', { ...usual, strict: 'yes' }), { status: 400, body: { details: { field: 'strict' } } })
  t.match(await request('POST', '/sdapi/v1/txt2img?async=1', { ...parameters, surprise: 1 }), { status: 202 },
    'A1111 takes whatever comes')
})
