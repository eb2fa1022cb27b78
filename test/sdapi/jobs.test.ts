import { Validator } from '@seriousme/openapi-schema-validator'
import t from 'tap'
import { quick, startService, type Service } from '../helper.ts'
import { newKey } from './client.ts'

const authToken = 'the-one-token-of-async-proxy'
const asProxy = { authorization: `Bearer ${authToken}` }
const slow = { ...quick, steps: 100 }

type Entries = Array<Record<string, unknown>>

async function listOf (url: string, path: string, headers: Record<string, string> = {}): Promise<Entries> {
  return await (await fetch(url + path, { headers })).json() as Entries
}

/** Name, path, headers, and what is in the body. */
type Way = readonly [string, string, Record<string, string>, object]

/** Every way to ask for an id at once. */
async function waysToAsk (service: Service): Promise<readonly Way[]> {
  const { key, secret } = await newKey(service, { drop_in: { answer: 'async' } })
  const hook = { webhookUrl: 'https://example.org/hook', webhookKey: 'k', webhookEvents: ['job.failed'] }
  return [
    ['the header of RFC 7240', '/sdapi/v1/txt2img', { prefer: 'respond-async' }, {}],
    ['the query', '/sdapi/v1/txt2img?async=1', {}, {}],
    ['a webhook', '/sdapi/v1/txt2img', {}, hook],
    ['the base path', '/async/sdapi/v1/txt2img', {}, {}],
    ['the key', '/sdapi/v1/txt2img', { 'x-api-key': key, 'x-api-secret': secret }, {}],
    ['the token', '/sdapi/v1/txt2img', asProxy, {}]
  ]
}

t.test('every way to ask for it gets 202 with the job\'s id and address', async t => {
  const service = await startService(t, { settings: { AUTH_TOKEN: authToken, RATE_LIMIT_PER_MINUTE: '0' }, worker: 'none' })
  const waiting = [['the header with a wait that passes', '/sdapi/v1/txt2img', { prefer: 'respond-async, wait=0.2' }, {}]] as const
  for (const [name, path, headers, more] of [...await waysToAsk(service), ...waiting]) {
    const { status, headers: answered, body } = await service.request('POST', path, { ...quick, ...more }, headers)
    t.equal(status, 202, `${name}: ${JSON.stringify(body)}`)
    t.strictSame(Object.keys(body), ['uuid'], name)
    t.match(body.uuid, /^[0-9a-f-]{36}$/)
    t.equal(answered.get('location'), `/sdapi/v1/jobs/${String(body.uuid)}`)
    t.match(answered.get('x-job-id'), /^[A-Za-z0-9]{8}$/)
    t.equal(answered.get('preference-applied'), 'respond-async')
  }
  for (let job = 0; job < 50; job++) await service.request('POST', '/sdapi/v1/txt2img?async=1', quick)
  t.equal((await listOf(service.url, '/sdapi/v1/jobs')).length, 50, 'as many as the tracker lists without a limit')
  t.equal((await listOf(service.url, '/sdapi/v1/jobs?limit=55')).length, 55)
  t.equal((await listOf(service.url, '/sdapi/v1/jobs', asProxy)).length, 57, 'the proxy lists all that are active')
})

/** A job of it runs once. The first test of it lists everything. */
const once = await startService(t, { settings: { AUTH_TOKEN: authToken, JOB_ATTEMPTS: '1' } })

t.test('one list serves both contracts: the request decides which', async t => {
  const service = once
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

  service.simulator.setFaults([])
  const { key, secret } = await newKey(service, { drop_in: { answer: 'async' } })
  const keyed = { 'x-api-key': key, 'x-api-secret': secret }
  for (const more of [{ prompt: 'a calm' }, { prompt: 'a breeze' }]) {
    await service.request('POST', '/sdapi/v1/txt2img?async=0', { ...quick, ...more }, keyed)
  }
  const prompts = async (headers = {}) => (await listOf(service.url, '/sdapi/v1/jobs', headers)).map(({ prompt }) => prompt)
  t.strictSame(await prompts(keyed), ['a breeze', 'a calm'], 'the key makes it a client of the proxy')
  const [newest] = await listOf(service.url, '/sdapi/v1/jobs')
  await service.services.redis.hset(service.services.keys.key('job', String(newest?.uuid)), 'ended', Date.now() - 301_000)
  t.strictSame(await prompts(keyed), ['a calm'], 'what ended more than 5 minutes ago is gone')
  await service.until(await service.submit({ ...quick, prompt: 'from elsewhere' }), 'completed')
  t.strictSame(await prompts(asProxy), ['from elsewhere', 'a calm', quick.prompt], 'the proxy has jobs of every interface')
  t.strictSame(await prompts(), ['a breeze', 'a calm', 'a storm', quick.prompt], 'the tracker those of the drop-in, however old')
})

t.test('each of its ids leads to a job, by the routes of both contracts', async t => {
  const service = once
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
  for (const id of [uuid, 'nowhere1']) {
    t.match(await service.request('DELETE', `/sdapi/v1/jobs/${id}`), { status: 404, body: { text: '' } })
  }
  service.simulator.setFaults([{ kind: 'nan' }])
  await service.request('POST', '/sdapi/v1/txt2img', quick)
  const [failure] = await listOf(service.url, '/sdapi/v1/errors')
  t.match(failure, { uuid: /^[0-9a-f-]{36}$/, error: /NaN/ })
  t.match((await service.request('GET', `/sdapi/v1/jobs/${String(failure?.uuid)}`)).body, { job_status: 'error', images: [], info: /NaN/ })
})

t.test('waiting clients get the images: with `wait`, or with `?async=0` whatever else the request contains', async t => {
  const service = once
  for (const [name, path, headers, more] of await waysToAsk(service)) {
    const prefer = headers.prefer === undefined ? 'wait=60' : `${headers.prefer}, wait=60`
    const answers = [
      await service.request('POST', path, { ...quick, ...more }, { ...headers, prefer }),
      await service.request('POST', `${path.split('?')[0] ?? ''}?async=0`, { ...quick, ...more }, headers)
    ]
    for (const { status, headers: answered, body } of answers) {
      t.equal(status, 200, name)
      t.strictSame(Object.keys(body), ['images', 'parameters', 'info'], name)
      t.match(answered.get('x-job-id'), /^[A-Za-z0-9]{8}$/)
      t.equal(answered.get('preference-applied'), null, 'it was not answered at once')
      t.equal(answered.get('location'), null)
    }
  }
  service.simulator.setFaults([{ kind: 'nan' }])
  const failed = await service.request('POST', '/sdapi/v1/txt2img', quick, { prefer: 'respond-async, wait=60' })
  t.match(failed, { status: 500, body: { error: 'NansException' } }, 'the status tells of a failure within the wait')
})

t.test('a cancelled job stays cancelled, waiting or running, and both contracts have their word for each state', async t => {
  const service = await startService(t, { simulator: { stepMilliseconds: 50 } })
  const submit = async () => {
    const { body, headers } = await service.request('POST', '/sdapi/v1/txt2img?async=1', slow)
    return { uuid: String(body.uuid), shortId: String(headers.get('x-job-id')) }
  }
  const words = async ({ uuid }: { uuid: string }) => {
    const [proxy, tracker] = [`/sdapi/v1/jobs/${uuid}`, `/sdapi/v1/job/${uuid}`]
    const [one, other] = [await service.request('GET', proxy), await service.request('GET', tracker)]
    return [one.body.job_status, other.body.status, Number(one.body.progress)]
  }
  const running = await submit()
  const waiting = await submit()
  await service.until(running.uuid, 'processing')
  t.match((await service.request('GET', `/sdapi/v1/jobs/${waiting.shortId}`)).body, { job_status: 'pending', progress: 0, images: [], info: null })
  t.strictSame(await words(waiting), ['pending', 'Pending', 0])
  const [state, status, progress] = await words(running)
  t.strictSame([state, status], ['generating', 'Processing'])
  t.ok(Number(progress) >= 0.1 && Number(progress) <= 0.9, String(progress))
  t.match(await listOf(service.url, '/sdapi/v1/jobs'), [
    { uuid: waiting.uuid, job_status: 'pending', status: 'Pending' }, { uuid: running.uuid, job_status: 'generating', status: 'Processing' }
  ])
  for (const [job, id] of [[waiting, waiting.shortId], [running, running.uuid]] as const) {
    t.equal((await service.request('DELETE', `/sdapi/v1/jobs/${id}`)).status, 204)
    t.equal((await service.until(job.uuid, 'cancelled', 'completed')).status, 'cancelled')
    t.equal((await service.request('DELETE', `/sdapi/v1/jobs/${id}`)).status, 204)
    t.strictSame(await words(job), ['canceled', 'Failed', 1])
  }

  const [first, second, third] = [await submit(), await submit(), await submit()]
  await service.until(first.uuid, 'processing')
  t.strictSame((await service.request('POST', '/sdapi/v1/interrupt', {})).body, {})
  t.equal((await service.until(first.uuid, 'cancelled', 'completed')).status, 'cancelled', 'the running one is interrupted first')
  await service.until(second.uuid, 'processing')
  const { key, secret } = await newKey(service)
  const skips = () => service.simulator.state().requests['POST /sdapi/v1/skip'] ?? 0
  await service.request('POST', '/sdapi/v1/skip', {}, { 'x-api-key': key, 'x-api-secret': secret })
  t.equal(skips(), 0, 'nobody skips another\'s')
  // The server can still be about to start a job sent a moment ago; then there is nothing to skip yet.
  while (skips() === 0) await service.request('POST', '/sdapi/v1/skip', {})
  t.equal((await service.until(second.uuid, 'completed', 'cancelled')).status, 'completed')
  t.not((await service.job(third.uuid)).status, 'cancelled')
})

t.test('the pages at the root show the client\'s jobs, and HTML only to browsers', async t => {
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

t.test('no client sees, stops or lists jobs of another', async t => {
  const service = await startService(t, { worker: 'none' })
  const credentials = async () => {
    const { key, secret } = await newKey(service)
    return { 'x-api-key': key, 'x-api-secret': secret }
  }
  const [mine, other] = [await credentials(), await credentials()]
  const call = await service.request('POST', '/sdapi/v1/txt2img?async=1', quick, mine)
  const later = await service.request('POST', '/sdapi/v1/txt2img?async=1', quick, mine)
  const ids = [String(call.body.uuid), String(call.headers.get('x-job-id'))]
  for (const id of ids) {
    t.match(await service.request('GET', `/sdapi/v1/job/${id}`, undefined, other), { status: 404, body: { error: 'Job not found' } })
    t.match(await service.request('GET', `/sdapi/v1/jobs/${id}`, undefined, other), { status: 404, body: { error: 'Not found' } })
    t.equal((await service.request('DELETE', `/sdapi/v1/jobs/${id}`, undefined, other)).status, 404)
  }
  t.strictSame(await listOf(service.url, '/sdapi/v1/jobs', other), [])
  const shown = async (headers: Record<string, string>) => [
    (await service.request('GET', '/public/jobs.json', undefined, headers)).body.jobs as Entries,
    (await service.request('GET', '/jobs', undefined, { ...headers, accept: 'text/html' })).body.text
  ] as const
  const [[seen, page], [hidden, otherPage]] = [await shown(mine), await shown(other)]
  t.equal(seen.length, 2)
  t.match(page, ids[0])
  t.strictSame(hidden, [])
  t.notMatch(otherPage, ids[0])
  t.equal((await service.request('POST', '/sdapi/v1/interrupt', {}, other)).status, 200)
  t.equal((await service.job(ids[0] ?? '')).status, 'pending', 'an interrupt means one\'s own jobs')
  t.match((await service.request('GET', '/sdapi/v1/progress', undefined, other)).body, { state: { job_count: 0 } })
  t.match((await service.request('GET', '/sdapi/v1/progress', undefined, mine)).body, { progress: 0, state: { job_count: -1 }, textinfo: 'In queue: 1/2' })
  await service.request('POST', '/sdapi/v1/interrupt', {}, mine)
  t.equal((await service.job(ids[0] ?? '')).status, 'cancelled', 'the oldest of those that wait')
  t.equal((await service.job(String(later.body.uuid))).status, 'pending')
})

t.test('jobs older than TRACKER_RETENTION are deleted, and tracking can be off', async t => {
  const kept = await startService(t, { settings: { TRACKER_RETENTION: '1' } })
  const call = await kept.request('POST', '/sdapi/v1/txt2img', quick)
  const [{ uuid } = {}] = await listOf(kept.url, '/sdapi/v1/jobs')
  t.match((await kept.request('POST', '/sdapi/v1/jobs/purge', {})).body, { removed: 0 })
  const longAgo = Date.now() - 2 * 86_400_000
  await kept.services.redis.hset(kept.services.keys.key('job', String(uuid)), 'created', longAgo, 'ended', longAgo)
  t.match((await kept.request('POST', '/sdapi/v1/jobs/purge', {})).body, { removed: 1 })
  t.equal((await kept.request('GET', `/sdapi/v1/job/${String(call.headers.get('x-job-id'))}`)).status, 404)
  const off = await startService(t, { settings: { TRACKER_ENABLED: 'false' } })
  const untracked = await off.request('POST', '/sdapi/v1/txt2img', quick)
  t.equal(untracked.status, 200)
  t.equal(untracked.headers.get('x-job-id'), null)
  t.strictSame(await listOf(off.url, '/sdapi/v1/jobs'), [])
})
