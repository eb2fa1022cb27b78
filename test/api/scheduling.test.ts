import t from 'tap'
import { quick, startService, type Answer, type JsonBody } from '../helper.ts'
import { keyHeaders } from './access-key.ts'

const service = await startService(t, { worker: 'none' })
const { request } = service
t.equal((await request('POST', '/api/v1/servers', { alias: 'Second', apiUrl: 'http://127.0.0.1:9' })).status, 201)
const anyServer = { target_server_alias: 'default', generation_params: quick }
const total = async () => Number((await request('GET', '/api/v2/jobs')).body.total)

t.test('a dry run says where and when a job would run, and queues nothing', async t => {
  const before = await total()
  const { status, body } = await request('POST', '/api/v2/generate', { ...anyServer, dry_run: true })
  t.equal(status, 200)
  t.match(body, {
    success: true, dry_run: true, total_jobs: 1, queue_position: Number, priority: 5, seed: Number, warnings: []
  })
  t.ok((body.servers as string[]).includes('Main'))
  t.notOk('id' in body, 'there is no job')
  const named = await request('POST', '/api/v2/generate', { ...anyServer, target_server_alias: 'Second', dry_run: true })
  t.match(named.body, {
    servers: ['Second'],
    target_server_alias: 'Second',
    eta_seconds: null,
    eta_seconds_p90: null,
    waiting_for: 'The server "Second" does not answer.'
  })
  const many = await request('POST', '/api/v2/generate/bulk', { ...anyServer, bulk_quantity: 4, dry_run: true })
  t.match(many, { status: 200, body: { dry_run: true, total_jobs: 4 } })
  t.equal(await total(), before)
})

t.test('a dry run refuses what a submission refuses', async t => {
  for (const wrong of [
    { ...anyServer, target_server_alias: 'Nowhere' }, { ...anyServer, generation_params: { ...quick, steps: 'many' } },
    { ...anyServer, generation_params: {} }, { ...anyServer, strict: true, colour: 'blue' }
  ]) {
    const real = await request('POST', '/api/v2/generate', wrong)
    const dry = await request('POST', '/api/v2/generate', { ...wrong, dry_run: true })
    t.ok(real.status >= 400, JSON.stringify(wrong))
    const fieldOf = ({ body }: Answer) => (body.details as JsonBody | undefined)?.field
    t.same([dry.status, dry.body.error, fieldOf(dry)], [real.status, real.body.error, fieldOf(real)])
  }
  t.match(await request('POST', '/api/v2/generate', { ...anyServer, dry_run: 'yes' }),
    { status: 400, body: { details: { field: 'dry_run' } } })
})

t.test('a job says what it waits for, and has no time where no server can run it', async t => {
  const id = await service.submit(quick, { target_server_alias: 'Second' })
  t.match(await service.job(id), {
    status: 'pending', target_server_alias: 'Second', eta_seconds: null, waiting_for: 'The server "Second" does not answer.'
  })
  const moved = await request('PATCH', `/api/v2/jobs/${id}`, { server: 'default' })
  t.match(moved, { status: 200, body: { job: { target_server_alias: 'default' } } }, 'any server can take it now')
  const listed = (await request('GET', '/api/v2/jobs?status=pending&server=default')).body.jobs as JsonBody[]
  t.ok(listed.some(job => job.id === id), 'it is among the jobs that any server can take')
})

t.test('the weight of a key needs queue:admin', async t => {
  const made = await request('POST', '/api/v1/api-keys', { name: 'heavy', share_weight: 2 })
  t.match(made, { status: 201, body: { api_key: { share_weight: 2 } } })
  const { headers } = await keyHeaders(service, {
    scopes: ['keys:admin', 'jobs:write', 'jobs:read', 'images:read', 'models:read', 'servers:read']
  })
  t.match(await request('POST', '/api/v1/api-keys', { name: 'more', share_weight: 50 }, headers),
    { status: 403, body: { details: { field: 'share_weight' } } })
  t.match(await request('POST', '/api/v1/api-keys', { name: 'none', share_weight: 0 }),
    { status: 400, body: { details: { field: 'share_weight' } } })
})
