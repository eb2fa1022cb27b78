import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { quick, startService } from '../helper.ts'

const authToken = 'the-one-token-of-async-proxy'
const asProxy = { authorization: `Bearer ${authToken}` }
const slow = { ...quick, steps: 100 }

type Entries = Array<Record<string, unknown>>

async function listOf (url: string, path: string, headers: Record<string, string> = {}): Promise<Entries> {
  return await (await fetch(url + path, { headers })).json() as Entries
}

t.test('each way of asking for it gets 202 with the id of the job and where to look for it', async t => {
  const service = await startService(t, { settings: { AUTH_TOKEN: authToken }, worker: 'none' })
  const { key, secret } = (await service.request('POST', '/api/v1/api-keys', { name: 'bot', drop_in: { answer: 'async' } })).body
  const keyed = { 'x-api-key': String(key), 'x-api-secret': String(secret) }
  const ways: ReadonlyArray<readonly [string, string, Record<string, string>, object]> = [
    ['the header of RFC 7240', '/sdapi/v1/txt2img', { prefer: 'respond-async' }, {}],
    ['the header with a wait that passes', '/sdapi/v1/txt2img', { prefer: 'respond-async, wait=0.2' }, {}],
    ['the query', '/sdapi/v1/txt2img?async=1', {}, {}],
    ['a webhook', '/sdapi/v1/txt2img', {}, { webhookUrl: 'https://example.org/hook', webhookKey: 'k' }],
    ['the base path', '/async/sdapi/v1/txt2img', {}, {}],
    ['the key', '/sdapi/v1/txt2img', keyed, {}],
    ['the token', '/sdapi/v1/txt2img', asProxy, {}]
  ]
  for (const [name, path, headers, more] of ways) {
    const { status, headers: answered, body } = await service.request('POST', path, { ...quick, ...more }, headers)
    t.equal(status, 202, `${name}: ${JSON.stringify(body)}`)
    t.strictSame(Object.keys(body), ['uuid'], name)
    t.match(body.uuid, /^[0-9a-f-]{36}$/)
    t.equal(answered.get('location'), `/sdapi/v1/jobs/${String(body.uuid)}`)
    t.match(answered.get('x-job-id'), /^[A-Za-z0-9]{8}$/)
    t.equal(answered.get('preference-applied'), 'respond-async')
  }
})

t.test('a job that ends within the wait is answered with its images', async t => {
  const service = await startService(t)
  const { status, body } = await service.request('POST', '/sdapi/v1/txt2img', quick, { prefer: 'respond-async, wait=60' })
  t.equal(status, 200)
  t.strictSame(Object.keys(body), ['images', 'parameters', 'info'])
})

t.test('a job is found by either of its ids, by the routes of both contracts', async t => {
  const service = await startService(t, { settings: { JOB_ATTEMPTS: '1' } })
  const call = await service.request('POST', '/sdapi/v1/txt2img', quick)
  const shortId = String(call.headers.get('x-job-id'))
  const [listed] = await listOf(service.url, '/sdapi/v1/jobs')
  const uuid = String(listed?.uuid)
  t.match(listed, {
    uuid: /^[0-9a-f-]{36}$/,
    job_status: 'completed',
    workflow: 'txt2img',
    retry_count: 0,
    progress: 1,
    created_at: /^\d{4}-.*Z$/,
    id: shortId,
    prompt: quick.prompt,
    ip: '127.0.0.1',
    timestamp: Number,
    status: 'Completed',
    output_paths: [/^\/outputs\/.*\.png$/]
  })
  for (const id of [shortId, uuid]) {
    const tracker = await service.request('GET', `/sdapi/v1/job/${id}`)
    t.strictSame(Object.keys(tracker.body).sort(), ['id', 'images', 'prompt', 'status', 'timestamp'])
    t.match(tracker.body, { id: shortId, prompt: quick.prompt, status: 'Completed' })
    t.strictSame(tracker.body.images, call.body.images)
    const proxy = await service.request('GET', `/sdapi/v1/jobs/${id}`)
    t.strictSame(Object.keys(proxy.body).sort(), ['images', 'info', 'job_status', 'progress', 'uuid'])
    t.match(proxy.body, { uuid, job_status: 'completed', progress: 1, info: call.body.info })
    t.strictSame(proxy.body.images, call.body.images)
  }
  t.match(await service.request('GET', '/sdapi/v1/job/nowhere1'), { status: 404, body: { error: 'Job not found' } })
  t.match(await service.request('GET', '/sdapi/v1/jobs/nowhere1'), { status: 404, body: { error: 'Not found' } })
  t.match(await service.request('DELETE', `/sdapi/v1/jobs/${uuid}`), { status: 404, body: { text: '' } })
  service.simulator.setFaults([{ kind: 'nan' }])
  await service.request('POST', '/sdapi/v1/txt2img', quick)
  const [failure] = await listOf(service.url, '/sdapi/v1/errors')
  t.match(failure, { uuid: /^[0-9a-f-]{36}$/, error: /NaN/ })
  t.match((await service.request('GET', `/sdapi/v1/jobs/${String(failure?.uuid)}`)).body, { job_status: 'error', images: [], info: /NaN/ })
})

t.test('one list serves both contracts: the request decides which', async t => {
  const service = await startService(t, { settings: { AUTH_TOKEN: authToken, JOB_ATTEMPTS: '1' } })
  await service.request('POST', '/sdapi/v1/txt2img', quick)
  service.simulator.setFaults([{ kind: 'nan' }])
  await service.request('POST', '/sdapi/v1/txt2img', { ...quick, prompt: 'a storm' })
  const states = async (path: string, headers = {}) =>
    (await listOf(service.url, path, headers)).map(({ status }) => status)
  t.strictSame(await states('/sdapi/v1/jobs'), ['Failed', 'Completed'], 'the tracker sees everything, newest first')
  t.strictSame(await states('/sdapi/v1/jobs', asProxy), ['Completed'], 'the proxy shows no failures there')
  t.strictSame(await states('/async/sdapi/v1/jobs'), ['Completed'])
  t.strictSame(await states('/sdapi/v1/jobs?limit=1', asProxy), ['Failed'], 'only the tracker has a limit')
  t.strictSame(await states('/sdapi/v1/jobs?status=completed'), ['Completed'])
  t.strictSame(await states('/sdapi/v1/jobs?ip=10.0.0.1'), [])
  t.strictSame(await states('/sdapi/v1/jobs?ip=127.0.0.1&limit=0'), [])
  t.strictSame(await states(`/sdapi/v1/jobs?after=${Math.floor(Date.now() / 1000)}`), [])
  t.match(await service.request('GET', '/sdapi/v1/jobs?limit=x'), {
    status: 422, body: { detail: [{ loc: ['query', 'limit'], msg: 'value is not a valid integer' }] }
  })
})

t.test('a cancelled job stays cancelled, whether it waited or ran', async t => {
  const service = await startService(t, { simulator: { stepMilliseconds: 20 } })
  const submit = async () => String((await service.request('POST', '/sdapi/v1/txt2img?async=1', slow)).body.uuid)
  const running = await submit()
  const waiting = await submit()
  await service.until(running, 'processing')
  t.match((await service.request('GET', `/sdapi/v1/jobs/${waiting}`)).body, { job_status: 'pending', progress: 0, images: [], info: null })
  for (const id of [waiting, running]) {
    t.equal((await service.request('DELETE', `/sdapi/v1/jobs/${id}`)).status, 204)
    t.equal((await service.until(id, 'cancelled', 'completed')).status, 'cancelled')
    t.equal((await service.request('DELETE', `/sdapi/v1/jobs/${id}`)).status, 204)
    t.match((await service.request('GET', `/sdapi/v1/jobs/${id}`)).body, { job_status: 'canceled', progress: 1 })
  }
})

t.test('the pages at the root show the caller\'s jobs, and HTML only to who reads it', async t => {
  const service = await startService(t, { worker: 'none' })
  const uuid = String((await service.request('POST', '/sdapi/v1/txt2img?async=1', quick)).body.uuid)
  t.match((await service.request('GET', '/public/jobs.json')).body, {
    jobs: [{ uuid, status: 'pending', workflow: 'txt2img', progress: 0, retry_count: 0, completed_at: null }], updatedAt: String
  })
  t.match((await service.request('GET', '/public/failed-jobs.json')).body, { jobs: [], updatedAt: String })
  const page = await service.request('GET', '/jobs', undefined, { accept: 'text/html,*/*' })
  t.match(page.headers.get('content-type'), /^text\/html/)
  t.match(page.body.text, uuid)
  t.equal((await service.request('GET', '/jobs')).status, 404, 'programs find another interface there, if any')
  for (const [path, expected] of [['/schemas', '3.1'], ['/schemas/openapi.spec.yaml', '3.1'], ['/schemas/openapi-3.0.json', '3.0']] as const) {
    const document = JSON.parse(await (await fetch(service.url + path)).text()) as Record<string, unknown>
    const validator = new Validator()
    const { valid, errors } = await validator.validate(structuredClone(document))
    t.ok(valid, `${path}: ${JSON.stringify(errors)}`)
    t.equal(validator.version, expected)
    if (expected === '3.0') t.notMatch(JSON.stringify(document), /"type":\[|"const":|"webhooks":/, 'nothing that 3.0 does not know')
  }
  t.match(await listOf(service.url, '/sdapi/v1/workflows'), [{ workflow: 'txt2img' }, { workflow: 'img2img' }])
})

t.test('nobody sees, stops or lists another\'s jobs', async t => {
  const service = await startService(t, { worker: 'none' })
  const newKey = async (name: string) => {
    const { key, secret } = (await service.request('POST', '/api/v1/api-keys', { name })).body
    return { 'x-api-key': String(key), 'x-api-secret': String(secret) }
  }
  const [mine, other] = [await newKey('mine'), await newKey('other')]
  const call = await service.request('POST', '/sdapi/v1/txt2img?async=1', quick, mine)
  const ids = [String(call.body.uuid), String(call.headers.get('x-job-id'))]
  for (const id of ids) {
    t.equal((await service.request('GET', `/sdapi/v1/job/${id}`, undefined, other)).status, 404)
    t.equal((await service.request('DELETE', `/sdapi/v1/jobs/${id}`, undefined, other)).status, 404)
  }
  t.strictSame(await listOf(service.url, '/sdapi/v1/jobs', other), [])
  t.equal((await service.request('POST', '/sdapi/v1/interrupt', {}, other)).status, 200)
  t.equal((await service.job(ids[0] ?? '')).status, 'pending', 'an interrupt means one\'s own jobs')
  t.match((await service.request('GET', '/sdapi/v1/progress', undefined, other)).body, { state: { job_count: 0 } })
  t.match((await service.request('GET', '/sdapi/v1/progress', undefined, mine)).body, { progress: 0, state: { job_count: -1 }, textinfo: 'In queue: 1/1' })
  await service.request('POST', '/sdapi/v1/interrupt', {}, mine)
  t.equal((await service.job(ids[0] ?? '')).status, 'cancelled')
})

t.test('jobs are purged once they are older than TRACKER_RETENTION, and tracking can be off', async t => {
  const kept = await startService(t, { settings: { TRACKER_RETENTION: '1' } })
  const call = await kept.request('POST', '/sdapi/v1/txt2img', quick)
  const [{ uuid } = {}] = await listOf(kept.url, '/sdapi/v1/jobs')
  t.match((await kept.request('POST', '/sdapi/v1/jobs/purge', {})).body, { removed: 0 })
  const longAgo = Date.now() - 2 * 86_400_000
  await kept.house.redis.hset(kept.house.keys.key('job', String(uuid)), 'created', longAgo, 'ended', longAgo)
  t.match((await kept.request('POST', '/sdapi/v1/jobs/purge', {})).body, { removed: 1 })
  t.equal((await kept.request('GET', `/sdapi/v1/job/${String(call.headers.get('x-job-id'))}`)).status, 404)
  const off = await startService(t, { settings: { TRACKER_ENABLED: 'false' } })
  const untracked = await off.request('POST', '/sdapi/v1/txt2img', quick)
  t.equal(untracked.status, 200)
  t.equal(untracked.headers.get('x-job-id'), null)
  t.strictSame(await listOf(off.url, '/sdapi/v1/jobs'), [])
})
