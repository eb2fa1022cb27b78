import { createHash } from 'node:crypto'
import { createServer } from 'node:net'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { keyHeaders } from '../api/access-key.ts'
import { quick, startService, type JsonBody } from '../helper.ts'
import { listenTo } from '../events/listener.ts'
import { isGenuine, listen, startReceiver as startReceiverWith, type Received, type Respond } from './receiver.ts'

const logged: string[] = []
const service = await startService(t, {
  logger: pino({ level: 'trace' }, { write (line) { logged.push(line) } }),
  settings: { EGRESS_PROFILE: 'lan', WEBHOOK_RETRY_SCHEDULE: '20ms,20ms,20ms', WEBHOOK_TIMEOUT_SECONDS: '2' }
})

/** All signing secrets; grows with each key. */
const secrets = [service.services.webhooks.signingKeys.ownSecret]
const startReceiver = async (t: Test, respond?: Respond) => await startReceiverWith(t, secrets, respond)

async function makeKey (body: Record<string, unknown> = {}) {
  const { status, body: answer } = await service.request('POST', '/api/v1/api-keys',
    { name: 'a', scopes: ['*'], ...body })
  if (status !== 201) throw new Error(JSON.stringify(answer))
  const apiKey = answer.api_key as { id: string, key: string, secret: string, webhook_secret: string }
  secrets.push(apiKey.webhook_secret)
  return { ...apiKey, headers: { 'x-api-key': apiKey.key, 'x-api-secret': apiKey.secret } }
}

async function submitAs (
  headers: Record<string, string>, webhook: Record<string, unknown>
): Promise<JsonBody> {
  const { body } = await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'default', generation_params: quick, ...webhook
  }, headers)
  return body
}

/** The deliveries of a job when none is pending any more. */
async function settled (jobId: string): Promise<DeliveryBody[]> {
  for (;;) {
    const { body } = await service.request('GET', `/api/v2/jobs/${jobId}/webhooks`)
    const deliveries = body.deliveries as DeliveryBody[]
    if (deliveries.length > 0 && deliveries.every(({ state }) => state !== 'pending')) return deliveries
    await new Promise(resolve => { setTimeout(resolve, 10) })
  }
}

interface DeliveryBody {
  readonly id: string
  readonly state: string
  readonly reason: string | null
  readonly type: string
  readonly attempts: number
}

t.test('events of a job arrive signed and complete, and their images need no key', async t => {
  const receiver = await startReceiver(t)
  const key = await makeKey()
  const accepted = await submitAs(key.headers, {
    webhookUrl: `${receiver.url}?token=query-secret`,
    webhookKey: 'my webhook key',
    webhookEvents: ['job.started', 'job.completed'],
    metadata: { order: 7 }
  })
  t.equal(accepted.webhook_signing_secret, 'whsec_bXkgd2ViaG9vayBrZXk=')
  t.match(accepted.warnings, [{ code: 'WEBHOOK_KEY_CLEARTEXT' }])
  const requests = await receiver.until(2)
  for (const request of requests) {
    t.match(request, { method: 'POST', path: '/hook?token=query-secret', headers: { 'x-webhook-key': 'my webhook key' } })
    for (const secret of [key.webhook_secret, String(accepted.webhook_signing_secret)]) {
      t.ok(isGenuine(secret, request))
      t.notOk(isGenuine(secret, { ...request, text: `${request.text} ` }))
    }
    t.notOk(isGenuine(`whsec_${Buffer.alloc(32).toString('base64')}`, request))
    t.match(request.headers['webhook-id'], /^evt_[a-z2-7]{26}$/)
  }
  const [started, completed] = requests.toSorted((one, other) => one.event.data.sequence - other.event.data.sequence)
  t.match(started?.event, { type: 'job.started', data: { status: 'processing', sequence: 1 } })
  t.match(completed?.event, {
    type: 'job.completed',
    data: { id: accepted.id, status: 'completed', sequence: 2, metadata: { order: 7 }, error: null }
  })
  const image = completed?.event.data.result?.images[0]
  t.match(image?.url, new RegExp(`^${service.url}/outputs/.+\\?exp=\\d+&sig=[\\w-]{43}$`))
  const fetched = await fetch(image?.url ?? '', { headers: { 'x-forwarded-for': '192.0.2.1', 'sec-fetch-site': 'cross-site' } })
  t.equal(fetched.status, 200)
  t.equal(createHash('sha256').update(Buffer.from(await fetched.arrayBuffer())).digest('hex'), image?.sha256)
  const forged = await fetch(`${image?.url.replace(/exp=\d/, 'exp=9')}`, { headers: { 'x-forwarded-for': '192.0.2.1' } })
  t.equal(forged.status, 401)
})

t.test('a delivery is retried under the same id, and every attempt is recorded without secrets', async t => {
  const receiver = await startReceiver(t, (request, response, count) => {
    if (count < 3) response.writeHead(500).end(`no, ${request.headers['x-webhook-key']} ${request.headers['webhook-signature']}`)
    else response.writeHead(200).end('ok')
  })
  const thirdParty = await makeKey({ scopes: ['jobs:read', 'servers:read'] })
  const [listener, outsider, unasked] = await Promise.all([
    listenTo(`${service.url}/api/v1/events?kinds=delivery`),
    listenTo(`${service.url}/api/v1/events?kinds=delivery`, thirdParty.headers),
    listenTo(`${service.url}/api/v1/events`)
  ])
  for (const { close } of [listener, outsider, unasked]) t.teardown(close)
  const { id } = await submitAs({}, { webhook_url: `${receiver.url}?q=hidden-query`, webhook_key: 'job-key-1' })
  const requests = await receiver.until(3)
  t.equal(new Set(requests.map(({ headers }) => headers['webhook-id'])).size, 1)
  t.equal(new Set(requests.map(({ text }) => text)).size, 1, 'the same bytes each time')
  t.same(requests.map(({ headers }) => headers['x-webhook-attempt']), ['1', '2', '3'])
  const [delivery] = await settled(String(id))
  t.match(delivery, { state: 'delivered', attempts: 3 })
  await listener.until(({ data }) => data.state === 'delivered')
  t.match(listener.events.filter(({ kind }) => kind === 'delivery').map(({ job_id: job, data }) => [job, data]),
    ['pending', 'pending', 'pending', 'delivered'].map(state => [id, { delivery_id: delivery?.id, type: 'job.completed', state }]),
    'those who ask for it hear of each step')
  t.notOk([...outsider.events, ...unasked.events].some(({ kind }) => kind === 'delivery'), 'and nobody else does')
  const { body } = await service.request('GET', `/api/v1/webhooks/deliveries/${delivery?.id}`)
  t.match(body.attempts, [{ status: 500, response_body: 'no, *** ***' }, { status: 500 }, { status: 200, next_at: null }])
  const { webhook_secret: own } = (await service.request('GET', '/api/v1/webhooks/secret')).body
  t.ok(isGenuine(String(own), requests[0] as Received))

  const kept = await everythingInRedis()
  for (const secret of ['job-key-1', 'hidden-query', String(own), String(requests[0]?.headers['webhook-signature'])]) {
    t.notOk(kept.includes(secret), 'no secret is anywhere in Redis')
  }
  t.notMatch(JSON.stringify([body, await service.job(String(id))]), /job-key-1|hidden-query|v1,/)

  const again = await service.request('POST', `/api/v1/webhooks/deliveries/${delivery?.id}/redeliver`)
  t.match(again.body, { delivery: { state: 'pending' } })
  const fourth = (await receiver.until(4))[3]
  t.equal(fourth?.headers['webhook-id'], delivery?.id)
})

/** All of Redis as one text. */
async function everythingInRedis (): Promise<string> {
  const { redis } = service.services
  const texts: string[] = []
  for (const name of await redis.keys('*')) {
    const dump = await redis.type(name)
    if (dump === 'hash') texts.push(JSON.stringify(await redis.hgetall(name)))
    else if (dump === 'list') texts.push(...await redis.lrange(name, 0, -1))
    else if (dump === 'stream') texts.push(JSON.stringify(await redis.xrange(name, '-', '+')))
    else if (dump === 'string') texts.push(await redis.get(name) ?? '')
    else texts.push(...await redis.zrange(name, '0', '-1'))
  }
  return texts.join('\n')
}

t.test('the receiver\'s answer decides about the next attempt', async t => {
  const since = new Date().toISOString()
  let connections = 0
  const victim = createServer(() => { connections++ })
  const elsewhere = { location: `http://127.0.0.1:${await listen(t, victim)}/sdapi/v1/interrupt` }
  const cases = [
    ...[301, 302, 303, 307, 308].map(status => (
      { answer: [status, elsewhere], state: 'failed', requests: 4, reason: /redirects are not followed/ } as const)),
    { answer: [410, {}], state: 'failed', requests: 1, reason: /gone/ },
    { answer: [500, { 'webhook-delivery': 'abort-message' }], state: 'failed', requests: 1, reason: /stop/ },
    { answer: [404, {}], state: 'failed', requests: 4, reason: /404/ }
  ] as const
  for (const { answer: [status, headers], state, requests, reason } of cases) {
    const receiver = await startReceiver(t, (_request, response) => { response.writeHead(status, headers).end() })
    const { id } = await submitAs({}, { webhookUrl: receiver.url })
    await receiver.until(requests)
    const [delivery] = await settled(String(id))
    t.match(delivery, { state, reason, attempts: requests }, String(status))
    t.equal(receiver.requests.length, requests)
  }
  t.equal(connections, 0, 'where redirects lead')

  const { body } = await service.request('GET', '/api/v1/webhooks/endpoints')
  const endpoints = body.endpoints as Array<{ id: string, state: string }>
  t.equal(endpoints.filter(({ state }) => state === 'gone').length, 1)
  const redeliver = async (more: object, headers = {}) =>
    await service.request('POST', '/api/v1/webhooks/redeliver', { since, ...more }, headers)
  t.match(await redeliver({ dry_run: true }), { status: 200, body: { count: 8 } })
  t.match(await redeliver({ type: 'job.started', dry_run: true }), { body: { count: 0 } })
  t.match(await redeliver({ search: 'nowhere', dry_run: true }), { body: { count: 0 } })
  t.match(await redeliver({ expected: 7 }), { status: 409, body: { error: 'more_than_expected', details: { count: 8 } } })
  const watcher = await keyHeaders(service, { scopes: ['jobs:write', 'jobs:read', 'jobs:read:all'] })
  t.match(await redeliver({}, watcher.headers), { status: 200, body: { count: 0 } }, 'seeing is not sending again')
  const all = await redeliver({ expected: 8 })
  t.equal(all.body.count, 8, 'all that failed in a time span go out again')
})

t.test('a receiver that answered 410 gets nothing until a test arrives there', async t => {
  const receiver = await startReceiver(t, (_request, response) => { response.writeHead(410).end() })
  const first = await submitAs({}, { webhookUrl: receiver.url })
  await receiver.until(1)
  await settled(String(first.id))
  const second = await submitAs({}, { webhookUrl: receiver.url })
  t.match(second.warnings, [{ code: 'WEBHOOK_ENDPOINT_GONE', field: 'webhookUrl' }])
  await service.until(String(second.id), 'completed')
  t.match(await settled(String(second.id)), [{ state: 'skipped', attempts: 0, reason: /410/ }])

  receiver.respond((_request, response) => { response.writeHead(200).end() })
  const test = await service.request('POST', '/api/v1/webhooks/test', { webhookUrl: receiver.url })
  t.match(test.body, { delivery: { type: 'webhook.test', state: 'delivered' }, attempts: [{ status: 200 }] })
  const third = await submitAs({}, { webhookUrl: receiver.url })
  t.match(await settled(String(third.id)), [{ state: 'delivered' }])
})

t.test('a key has a secret of its own, rotated with overlap, and a default endpoint', async t => {
  const receiver = await startReceiver(t)
  const key = await makeKey({ webhook_url: receiver.url, webhook_events: ['job.completed'] })
  const { body } = await service.request('POST', `/api/v1/api-keys/${key.id}/webhook-secret/rotate`)
  await submitAs(key.headers, {})
  const [request] = await receiver.until(1) as [Received]
  t.ok(isGenuine(String(body.webhook_secret), request))
  t.ok(isGenuine(key.webhook_secret, request), 'the former secret signs too for a day')
  t.notOk('x-webhook-key' in request.headers)

  await service.request('POST', `/api/v1/api-keys/${key.id}/webhook-secret/rotate`, { grace_hours: 0 })
  await submitAs(key.headers, { webhookKey: key.webhook_secret, webhookUrl: receiver.url })
  const [, later] = await receiver.until(2) as [Received, Received]
  t.notOk(isGenuine(String(body.webhook_secret), later))
  t.ok(isGenuine(key.webhook_secret, later), 'a signing key of the job signs')
  t.notOk('x-webhook-key' in later.headers, 'and is never sent')

  const thirdParty = await makeKey({ scopes: ['jobs:write', 'jobs:read'] })
  const listed = await service.request('GET', '/api/v1/webhooks/deliveries', undefined, thirdParty.headers)
  t.match(listed.body, { count: 0 })
  const blocked = await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'default', generation_params: quick, webhookUrl: receiver.url
  }, thirdParty.headers)
  t.match(blocked, { status: 422, body: { error: 'webhook_url_blocked', message: /webhooks:private/ } })
})

t.test('every route that accepts a job accepts all fields of webhooks, in both spellings', async t => {
  const camel = {
    webhookUrl: 'https://example.org/hook', webhookKey: 'k', webhookAuth: 'signature', webhookEvents: ['job.failed'], webhookImages: 'none', webhookFormat: 'standard', metadata: { order: 7 }
  }
  const snake = Object.fromEntries(Object.entries(camel).map(([name, value]) =>
    [name.replace(/[A-Z]/, letter => `_${letter.toLowerCase()}`), value]))
  const ordinary = { target_server_alias: 'default', generation_params: quick }
  const routes: Array<[string, object]> = [
    ['/api/v1/generate', ordinary], ['/api/v2/generate', ordinary],
    ['/api/v2/generate/bulk', { ...ordinary, bulk_quantity: 1 }], ['/sdapi/v1/txt2img', quick]
  ]
  for (const [path, body] of routes) {
    for (const webhook of [camel, snake]) {
      const answer = (await service.request('POST', path, { ...body, ...webhook })).body
      const [first] = answer.jobs as Array<{ id: string }> | undefined ?? [{ id: String(answer.uuid ?? answer.id) }]
      t.match(await service.job(first?.id ?? ''), {
        metadata: { order: 7 },
        webhook: { url: 'https://example.org/hook', auth: 'signature', events: ['job.failed'], images: 'none', format: 'standard', has_key: true }
      }, `${path} ${Object.keys(webhook)[0]}`)
    }
    const { status, body: { message, detail } } = await service.request('POST', path, { ...body, ...camel, webhookImages: 'gif' })
    t.ok(status === 400 || status === 422, `${status}`)
    t.match(String(message ?? JSON.stringify(detail)), /webhookImages/)
  }
})

t.test('an event that can never be delivered is rejected at submission', async t => {
  const url = 'https://example.org/hook'
  const simulator = service.simulator.url
  const cases: Array<[Record<string, unknown>, string]> = [
    [{ webhookUrl: url, webhookKey: 'line\nbreak' }, 'webhook_key_unsendable'],
    [{ webhookUrl: url, webhookKey: ' space' }, 'webhook_key_unsendable'],
    [{ webhookUrl: url, webhookKey: '猫' }, 'webhook_key_unsendable'],
    [{ webhookUrl: url, webhookKey: 'whsec_c2hvcnQ=' }, 'webhook_key_unsendable'],
    [{ webhookUrl: 'ftp://example.org' }, 'webhook_url_invalid'],
    [{ webhookUrl: 'http://user:pass@example.org' }, 'webhook_url_invalid'],
    [{ webhookUrl: 'https://example.org/#part' }, 'webhook_url_invalid'],
    [{ webhookUrl: 'http://169.254.169.254/latest/meta-data' }, 'webhook_url_blocked'],
    [{ webhookUrl: `${simulator}/sdapi/v1/interrupt` }, 'webhook_url_blocked'],
    [{ webhookUrl: `${service.url}/api/v1/api-keys` }, 'webhook_url_blocked']
  ]
  for (const [webhook, error] of cases) {
    const { status, body } = await service.request('POST', '/api/v2/generate', {
      target_server_alias: 'Main', generation_params: quick, ...webhook
    })
    t.match({ status, body }, { status: 422, body: { error } }, JSON.stringify(webhook))
  }
  const receiver = await startReceiver(t)
  const odd = await submitAs({}, { webhookUrl: receiver.url, webhookKey: '猫', webhookAuth: 'signature' })
  t.ok(isGenuine(String(odd.webhook_signing_secret), (await receiver.until(1))[0] as Received))
  t.equal(odd.webhook_signing_secret, `whsec_${Buffer.from('猫').toString('base64')}`)
})

t.test('progress is sent while it is current, and a base64 event contains its images', async t => {
  service.simulator.setFaults([{ kind: 'slow', factor: 30, prompt: 'a slow one' }])
  const receiver = await startReceiver(t)
  await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'default',
    generation_params: { ...quick, prompt: 'a slow one', steps: 50 },
    webhookUrl: receiver.url,
    webhookEvents: 'job.progress, job.completed',
    webhookImages: 'base64'
  })
  const [end] = await receiver.until(1, ({ event }) => event.type === 'job.completed') as [Received]
  const progress = receiver.requests.filter(({ event }) => event.type === 'job.progress').map(({ event }) => event.data)
  t.ok(progress.length >= 1 && progress.length <= 5, `${progress.length} events of progress`)
  t.ok(progress.every(({ status, sequence }) => status === 'processing' && sequence < end.event.data.sequence))
  const [image] = end.event.data.result?.images ?? []
  const bytes = Buffer.from(image?.base64 ?? '', 'base64')
  t.equal(createHash('sha256').update(bytes).digest('hex'), image?.sha256)
  t.notOk((await everythingInRedis()).includes(image?.base64?.slice(0, 100) ?? ''), 'which never enter Redis')
})

t.test('failure and cancellation are sent, in the format of old receivers too', async t => {
  const receiver = await startReceiver(t)
  const done = await submitAs({}, { webhookUrl: receiver.url, webhookFormat: 'legacy', webhookKey: 'k' })
  const [legacy] = await receiver.until(1) as [Received]
  t.match(legacy.event, { uuid: done.id, job_status: 'completed', progress: 1, images: [String], seed: Number, info: String, tags: null })
  t.ok(Buffer.from(String((legacy.event.images as string[])[0]), 'base64').subarray(1, 4).equals(Buffer.from('PNG')))
  t.ok(isGenuine(`whsec_${Buffer.from('k').toString('base64')}`, legacy))

  const paused = await service.request('POST', '/api/v1/servers/Main/pause')
  t.equal(paused.status, 200)
  const waiting = await submitAs({}, { webhookUrl: receiver.url })
  await service.request('POST', `/api/v2/jobs/${String(waiting.id)}/cancel`)
  const [, cancelled] = await receiver.until(2) as [Received, Received]
  t.match(cancelled.event, { type: 'job.cancelled', data: { id: waiting.id, status: 'cancelled', result: null } })
  await service.request('POST', '/api/v1/servers/Main/resume')
})

t.test('no secret of these tests is in Redis, logs, errors, the dashboard or any answer', async t => {
  const receiver = await startReceiver(t, (_request, response) => { response.writeHead(500).end() })
  const key = await makeKey({ webhook_url: `${receiver.url}?token=default-query`, webhook_key: 'default-endpoint-key' })
  const answers: unknown[] = []
  const ask = async (method: string, path: string, body?: unknown) => {
    const answer = await service.request(method, path, body, key.headers)
    answers.push(answer.body)
    return answer
  }
  const { body: { id } } = await ask('POST', '/api/v2/generate', { target_server_alias: 'default', generation_params: quick })
  await settled(String(id))
  for (const webhook of [
    { webhookUrl: `${receiver.url}?token=refused-query`, webhookKey: 'refused-key\n' },
    { webhookUrl: 'http://169.254.169.254/?token=refused-query', webhookKey: 'refused-key' },
    { webhookUrl: 'http://user:refused-password@example.org/?token=refused-query' }
  ]) {
    const { status } = await ask('POST', '/api/v2/generate', { target_server_alias: 'default', generation_params: quick, ...webhook })
    t.equal(status, 422)
  }
  await ask('POST', '/api/v1/webhooks/test', { webhookUrl: `${receiver.url}?token=test-query`, webhookKey: 'test-endpoint-key' })
  const { deliveries } = (await ask('GET', '/api/v1/webhooks/deliveries?limit=200')).body
  for (const { id } of deliveries as DeliveryBody[]) await ask('GET', `/api/v1/webhooks/deliveries/${id}`)
  for (const path of [
    '/api/v1/webhooks/endpoints', '/api/v2/jobs?limit=100', `/api/v2/jobs/${String(id)}`, `/api/v2/jobs/${String(id)}/webhooks`,
    '/api/v1/api-keys', `/api/v1/api-keys/${key.id}`, '/dashboard/api/queues?activeQueue=webhooks&page=1&jobsPerPage=100'
  ]) t.equal((await ask('GET', path)).status, 200, path)
  t.match(JSON.stringify(answers.at(-1)), /evt_[a-z2-7]{26}/, 'the dashboard shows the queue of deliveries')

  const places = { Redis: await everythingInRedis(), logs: logged.join(''), answers: JSON.stringify(answers) }
  t.match(places.logs, /webhook delivered/, 'it was logged')
  const allSecrets = [
    ...secrets, key.secret, 'my webhook key', 'job-key-1', '猫', 'query-secret', 'hidden-query', 'default-query',
    'default-endpoint-key', 'refused-query', 'refused-key', 'refused-password', 'test-query', 'test-endpoint-key',
    ...receiver.requests.flatMap(({ headers }) => String(headers['webhook-signature']).split(' '))
  ]
  for (const [place, text] of Object.entries(places)) {
    for (const secret of allSecrets) t.notOk(text.includes(secret), `${secret} is not in ${place}`)
  }
})

t.end()
