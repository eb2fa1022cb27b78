import { once } from 'node:events'
import t from 'tap'
import WebSocket from 'ws'
import { keyHeaders } from '../api/access-key.ts'
import { type Operation, readDocument } from '../api/document.ts'
import { listenTo } from '../events/listener.ts'
import { quick, startService } from '../helper.ts'

const service = await startService(t, { settings: { QUEUE_LIMIT_PER_KEY: '20' } })
const { services: { accessKeys }, request, until } = service
const ui = { origin: service.url, 'sec-fetch-site': 'same-origin', 'x-requested-with': 'ui' }

type Key = Awaited<ReturnType<typeof keyHeaders>>

const pairOf = ({ headers }: Key) => ({ key: headers['X-API-Key'], secret: headers['X-API-Secret'] })

/** The headers of the web UI after signing in. */
async function signIn (credentials: object): Promise<Record<string, string>> {
  const { status, headers } = await request('POST', '/ui/session', credentials, ui)
  if (status !== 204) throw new Error(`not signed in: ${status}`)
  return { ...ui, cookie: headers.get('set-cookie')?.split(';')[0] ?? '' }
}

async function person (fields: Parameters<typeof keyHeaders>[1] = {}) {
  const key = await keyHeaders(service, fields)
  return { ...key, pages: await signIn(pairOf(key)) }
}

async function submit (headers: Record<string, string>, prompt: string, more: object = {}): Promise<string> {
  const { status, body } = await request('POST', '/api/v2/generate', {
    target_server_alias: 'default', generation_params: { ...quick, prompt }, ...more
  }, headers)
  if (status !== 202) throw new Error(`not accepted: ${status} ${JSON.stringify(body)}`)
  return String(body.job_id)
}

/** Runs something while nothing starts. */
async function whilePaused (work: () => Promise<void>): Promise<void> {
  await request('PUT', '/api/v1/settings/queue-processing', { enabled: false })
  try {
    await work()
  } finally {
    await request('PUT', '/api/v1/settings/queue-processing', { enabled: true })
  }
}

t.test('an access key signs in to the web UI, in each of its forms', async t => {
  const key = await keyHeaders(service, { name: 'Ada' })
  const pair = pairOf(key)
  for (const credentials of [
    pair, { token: `${pair.key}:${pair.secret}` }, { token: Buffer.from(`${pair.key}:${pair.secret}`).toString('base64') }
  ]) {
    const pages = await signIn(credentials)
    const { status, body } = await request('GET', '/ui/session', undefined, pages)
    t.equal(status, 200)
    t.match(body, { kind: 'session', name: 'Ada', role: 'user', key_id: key.id, scopes: ['jobs:write'] })
  }
  for (const [body, status, field] of [
    [{}, 400, 'token'], [{ key: pair.key }, 400, 'secret'], [{ secret: pair.secret }, 400, 'key'],
    [{ ...pair, token: 'x' }, 400, 'token'], [{ ...pair, password: 'x' }, 400, 'password']
  ] as const) {
    const answer = await request('POST', '/ui/session', body, ui)
    t.equal(answer.status, status, JSON.stringify(body))
    t.equal((answer.body.details as { field: string }).field, field)
  }
  const unmarked = await request('POST', '/ui/session', pair, { origin: service.url, 'sec-fetch-site': 'same-origin' })
  t.equal(unmarked.status, 403, 'a page needs the header that no form can add')
})

t.test('the session names rights, limits and usage', async t => {
  const { pages, headers } = await person({ name: 'Ben', ratePerMinute: 30, shareWeight: 2 })
  const done = await submit(headers, 'a first one')
  await until(done, 'completed')
  await whilePaused(async () => {
    await submit(pages, 'a waiting one')
    const { body } = await request('GET', '/ui/session', undefined, pages)
    t.match(body, {
      rights: { submit_jobs: true, see_images: true, see_all_jobs: false, change_queue: false, manage_keys: false },
      limits: { requests_per_minute: 30, waiting_jobs: 20, share_weight: 2, background: false },
      usage: { jobs_today: 2, waiting: 1, running: 0, waiting_left: 19 }
    })
    const usage = body.usage as { requests_left: number, requests_full_at: string }
    t.ok(usage.requests_left >= 28 && usage.requests_left < 30, 'both submissions count')
    t.ok(Date.parse(usage.requests_full_at) > Date.now())
  })
  const asAdmin = await request('GET', '/ui/session')
  t.match(asAdmin.body, { kind: 'local', role: 'admin', key_id: null, rights: { see_all_jobs: true }, limits: { waiting_jobs: null } })
})

t.test('what pages read does not use up the requests of the key', async t => {
  const { pages } = await person({ ratePerMinute: 2 })
  for (let count = 0; count < 10; count++) {
    t.equal((await request('GET', '/api/v2/jobs?view=short', undefined, pages)).status, 200)
  }
  await submit(pages, 'one')
  await submit(pages, 'two')
  t.equal((await request('POST', '/api/v2/generate', {}, pages)).status, 429)
})

t.test('only pages of this service can use the session', async t => {
  const { pages: { cookie = '' } } = await person()
  for (const [headers, status] of [
    [{ origin: service.url, 'sec-fetch-site': 'same-origin', 'x-requested-with': 'ui' }, 202],
    [{ origin: 'http://localhost:7860', 'sec-fetch-site': 'same-site', 'x-requested-with': 'ui' }, 403],
    [{ origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }, 403],
    [{ 'sec-fetch-site': 'same-site' }, 403]
  ] as const) {
    const answer = await request('POST', '/api/v2/generate', {
      target_server_alias: 'default', generation_params: quick
    }, { cookie, ...headers })
    t.equal(answer.status, status, JSON.stringify(headers))
  }
})

t.test('a person sees own rows only, in every list, count, search and event', async t => {
  const [ada, ben] = [await person(), await person()]
  const listener = await listenTo(`${service.url}/api/v1/events`, ada.pages)
  const socket = new WebSocket(`${service.url.replace('http', 'ws')}/ws`, { headers: { cookie: ada.pages.cookie ?? '', origin: service.url } })
  t.teardown(() => { listener.close(); socket.terminate() })
  await once(socket, 'open')
  const heard: string[] = []
  socket.on('message', data => { heard.push(String(data)) })
  socket.send(JSON.stringify({ type: 'subscribe', id: 'all' }))

  const theirs = await until(await submit(ben.pages, 'a walrus'), 'completed')
  await whilePaused(async () => {
    const waiting = await submit(ben.pages, 'a walrus that waits')
    for (const query of ['', '?status=pending', '?status=pending&order=line', '?search=walrus', '?server=Main']) {
      const { body } = await request('GET', `/api/v2/jobs${query}`, undefined, ada.pages)
      t.match(body, { total: 0, count: 0, jobs: [] }, query)
    }
    for (const query of ['', '?search=walrus', '?server=Main']) {
      t.match((await request('GET', `/api/v1/gallery${query}`, undefined, ada.pages)).body, { count: 0, images: [] })
    }
    t.match((await request('GET', '/api/v1/gallery/images', undefined, ada.pages)).body, { total: 0 })
    const name = theirs.images[0]?.filename ?? ''
    for (const path of [`/outputs/${name}`, `/outputs/thumbs/${name}`, `/api/v2/jobs/${theirs.id}`, `/api/v2/jobs/${waiting}`]) {
      t.equal((await request('GET', path, undefined, ada.pages)).status, 404, path)
      t.equal((await request('GET', path, undefined, ben.pages)).status, 200, path)
    }
    const [server] = (await request('GET', '/api/v1/servers', undefined, ada.pages)).body as unknown as object[]
    t.match(server, { waiting: 0, processing: 0 }, 'servers count own jobs')

    for (const choice of [{ all: true }, { filter: { search: 'walrus' } }, { filter: { status: 'pending' } }, { ids: [waiting, theirs.id] }]) {
      for (const action of ['cancel', 'retry', 'delete', 'run-now']) {
        const counted = await request('POST', '/api/v2/jobs/actions', { action, dry_run: true, ...choice }, ada.pages)
        t.match(counted.body, { count: 0 }, `${action} ${JSON.stringify(choice)}`)
        t.match((await request('POST', '/api/v2/jobs/actions', { action, ...choice }, ada.pages)).body, { count: 0, done: 0 })
      }
    }
    t.equal((await request('GET', `/api/v2/jobs?key=${ben.id}`, undefined, ada.pages)).status, 403)
    t.match((await request('GET', `/api/v2/jobs/${waiting}`, undefined, ben.pages)).body, { job: { status: 'pending' } })
    const asAdmin = await request('GET', '/api/v2/jobs?search=walrus')
    t.match(asAdmin.body, { total: 2 }, 'the administrator sees all')
    await request('POST', `/api/v2/jobs/${waiting}/cancel`, undefined, ben.pages)
  })

  const own = await submit(ada.pages, 'an otter')
  await listener.until(({ kind, job_id: id }) => kind === 'completed' && id === own)
  while (!heard.some(text => text.includes('"kind":"completed"') && text.includes(own))) await once(socket, 'message')
  const others = listener.events.filter(({ job_id: id, kind }) => kind === 'queue' || (id !== null && id !== own))
  t.strictSame(others, [], 'no event of another\'s job, and none that counts them')
  t.notOk(heard.some(text => text.includes(theirs.id) || text.includes('"kind":"queue"')))
})

t.test('a session ends with its key, at once and with its streams', async t => {
  const ends: Array<[name: string, end: (id: string) => Promise<unknown>]> = [
    ['revoked', async id => await request('DELETE', `/api/v1/api-keys/${id}`)],
    ['switched off', async id => await request('PUT', `/api/v1/api-keys/${id}`, { is_active: false })],
    ['given another secret', async id => await request('POST', `/api/v1/api-keys/${id}/rotate`, { grace_hours: 0 })],
    ['given another secret, the former one working on', async id => await request('POST', `/api/v1/api-keys/${id}/rotate`)]
  ]
  for (const [name, end] of ends) {
    const { id, pages } = await person()
    const listener = await listenTo(`${service.url}/api/v1/events`, pages)
    const socket = new WebSocket(`${service.url.replace('http', 'ws')}/ws`, { headers: { cookie: pages.cookie ?? '', origin: service.url } })
    await once(socket, 'open')
    const ticket = String((await request('POST', '/api/v1/events/ticket', undefined, pages)).body.ticket)
    const closed = once(socket, 'close')
    await end(id)
    for (const path of ['/ui/session', '/api/v2/jobs', '/api/v1/gallery']) {
      const { status, body } = await request('GET', path, undefined, pages)
      t.equal(status, 401, `${name}: ${path}, although this machine needs no key`)
      t.match(body, { details: { reason: 'session_ended' } })
    }
    await Promise.all([listener.ended(), closed])
    t.equal((await request('GET', `/api/v1/events?ticket=${ticket}`)).status, 401, 'nor by a ticket of before')
    const out = await request('DELETE', '/ui/session', undefined, pages)
    t.match(out.headers.get('set-cookie'), /Max-Age=0/)
  }
})

t.test('a session that a former secret opened ends with that secret', async t => {
  const key = await keyHeaders(service)
  await accessKeys.rotate(key.id, 0.0003)
  const pages = await signIn(pairOf(key))
  t.equal((await request('GET', '/ui/session', undefined, pages)).status, 200)
  const listener = async () => (await request('GET', '/ui/session', undefined, pages)).status
  for (let status = 200; status === 200;) status = await listener()
  t.equal(await listener(), 401)
})

t.test('signing out ends the session, and signing in as somebody else the former one', async t => {
  const [ada, ben] = [await person({ name: 'Ada' }), await keyHeaders(service, { name: 'Ben' })]
  const again = await request('POST', '/ui/session', pairOf(ben), ada.pages)
  t.equal(again.status, 204)
  t.equal((await request('GET', '/ui/session', undefined, ada.pages)).status, 401)
  const pages = { ...ui, cookie: again.headers.get('set-cookie')?.split(';')[0] ?? '' }
  t.match((await request('GET', '/ui/session', undefined, pages)).body, { name: 'Ben' })
  await request('DELETE', '/ui/session', undefined, pages)
  t.equal((await request('GET', '/ui/session', undefined, pages)).status, 401)
})

t.test('a changed right holds at once', async t => {
  const { id, pages } = await person()
  await request('PUT', `/api/v1/api-keys/${id}`, { scopes: ['jobs:read'] })
  t.match((await request('GET', '/ui/session', undefined, pages)).body, { rights: { submit_jobs: false, see_images: false } })
  t.equal((await request('POST', '/api/v2/generate', { generation_params: quick }, pages)).status, 403)
})

t.test('wrong secrets count as failed sign-ins of their address', async t => {
  const { key } = pairOf(await keyHeaders(service))
  const statuses: number[] = []
  for (let count = 0; count < 12; count++) {
    statuses.push((await request('POST', '/ui/session', { key, secret: 'f'.repeat(64) }, ui)).status)
  }
  t.strictSame([...new Set(statuses)], [401, 429])
})

/** What a person with the scopes of a new key gets from each operation. */
type Decision = 'public' | 'forbidden' | 'own' | 'shared'

/** Operations by the beginning of their name; the longest fitting one counts. */
const decisions: Readonly<Record<Decision, string>> = {
  public: 'health.getReadiness health.getStatus health.get uiSession.open uiSession.end apiKeys.getSetup',
  own: 'queue.get queue.listGroups queue.listFailures uiSession.get jobs.submit bulks.submit bulks.get bulks.cancel parameters.read jobs.list jobs.get jobs.change jobs.delete ' +
    'jobs.cancel jobs.retry jobs.runNow jobs.dispatch jobs.act jobs.getInput jobs.getPreview jobs.listWebhooks ' +
    'images.get images.getThumbnail gallery.list gallery.getImage gallery.delete gallery.orderZip gallery.getZip events.listen jobs.listen ' +
    'events.createTicket webhooks.list webhooks.getDelivery webhooks.redeliver webhooks.stopDelivery ' +
    'webhooks.test webhooks.enableEndpoint a1111 studio openai',
  shared: 'servers.list servers.get models.getScan models.list checkpoints.list loras.list vaes.list embeddings.list ' +
    'models.listDuplicates downloads.list samplers.list schedulers.list upscalers.list models.get checkpoints.verify ' +
    'debug. civitai.getImage civitai.findImage downloads.get',
  forbidden: 'health.getMetrics servers.add servers.replace servers.change servers.remove servers.test servers.pause servers.drain ' +
    'servers.resume servers.check servers.getCheck servers.cancelCheck apiKeys.list apiKeys.create ' +
    'apiKeys.createFirst apiKeys.get apiKeys.change apiKeys.remove apiKeys.rotate apiKeys.rotateWebhookSecret ' +
    'webhooks.getSecret models.scan models.stopScan models.delete models.calculateHash models.rescan models.updateField ' +
    'models.reset models.cleanUpDuplicates models.refreshMetadata models.fetchFromCivitai civitai.getUser civitai.download ' +
    'downloads.add downloads.cancel downloads.retry downloads.cleanUp settings.get settings.change ' +
    'settings.removeKept settings.setQueueProcessing settings.getRetention settings.purgeJobs a1111_jobs_purge a1111_assets_download ' +
    'studio_scan_loras studio_edit_lora studio_enrich_lora'
}
const beginnings = Object.entries(decisions).flatMap(([decision, names]) =>
  names.split(' ').map((name): [string, Decision] => [name, decision as Decision]))
  .sort(([one], [other]) => other.length - one.length)

function decisionOf (operationId: string): Decision | undefined {
  return beginnings.find(([name]) => operationId.startsWith(name))?.[1]
}

/** Sends an operation with the ids of another person's things, and returns the answer's status and text. */
async function callWith (
  { method, path, bodies }: Operation, values: Readonly<Record<string, string>>, pages: Record<string, string>
): Promise<{ status: number, text: string }> {
  const address = path.replace(/\{([^}]+)\}/g, (_all, name) => encodeURIComponent(values[name] ?? values.jobId ?? ''))
  const hasBody = Object.keys(bodies).length > 0
  const answer = await fetch(service.url + address, {
    method,
    headers: { ...pages, ...(hasBody ? { 'content-type': 'application/json' } : {}) },
    ...(hasBody ? { body: JSON.stringify({ ids: [values.jobId], filenames: [values.name], action: 'delete' }) } : {})
  })
  if (answer.headers.get('content-type')?.startsWith('text/event-stream') !== true) {
    return { status: answer.status, text: await answer.text() }
  }
  await answer.body?.cancel()
  return { status: answer.status, text: '' }
}

t.test('each operation gives a person own rows, common knowledge, or nothing', async t => {
  const mark = 'zebra crossing'
  const [ada, ben]: Array<Awaited<ReturnType<typeof person>>> = [await person(), await person({ name: mark })]
  const bulk = await request('POST', '/api/v2/generate/bulk', {
    target_server_alias: 'default', bulk_quantity: 2, generation_params: { ...quick, prompt: mark }
  }, ben?.pages)
  const [{ id: jobId }] = bulk.body.jobs as [{ id: string }]
  const job = await until(jobId, 'completed')
  const name = job.images[0]?.filename ?? ''
  const values = { jobId, job_id: jobId, name, filename: name, alias: 'Main', bulkId: String(bulk.body.bulk_job_id), batch_id: jobId }
  const before = (await request('GET', `/api/v2/jobs/${jobId}`)).body.job

  for (const operation of readDocument(service.app).operations) {
    const { operationId = '', method, path } = operation
    const decision = decisionOf(operationId)
    if (decision === undefined) t.fail(`${operationId} has no decision: ${method} ${path}`)
    // They end the session of this test, or begin another.
    if (path === '/ui/session' && method !== 'GET') continue
    const { status, text } = await callWith(operation, values, ada?.pages ?? {})
    if (decision === 'forbidden') t.equal(status, 403, operationId)
    else t.not(status, 403, `${operationId}: ${text}`)
    t.notMatch(text, mark, `${operationId} shows nothing of another person`)
    t.notOk(text.includes(ben?.id ?? mark), `${operationId} does not name the other key`)
  }
  t.strictSame((await request('GET', `/api/v2/jobs/${jobId}`)).body.job, before, 'nothing of the other person was changed')
})

t.end()
