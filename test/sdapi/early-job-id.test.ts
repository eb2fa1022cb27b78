import { connect } from 'node:net'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { defaultDropIn } from '../../src/access/principal.ts'
import { parseSettings, SettingsError } from '../../src/config/parse.ts'
import { answerMode, type BasePath } from '../../plugins/sdapi/call.ts'
import { quick, startService, type Service } from '../helper.ts'
import { call, idOf, newKey, open, type Fields } from './client.ts'

const early = { prefer: 'early-job-id' }
const slow = { ...quick, steps: 150 }
const someSteps = { ...quick, steps: 20 }

/** Every way in which a job fails at its server, with the server's own answer. */
const failures: Readonly<Record<string, object>> = {
  'an exception of Python': { prompt: 'runtime-error' },
  'invalid numbers': { prompt: 'nan' },
  'too little memory': { prompt: 'out-of-memory' }
}
const faults = (['runtime-error', 'nan', 'out-of-memory'] as const).map(kind => ({ kind, prompt: kind, sticky: true }))

/** How an answer is sent, by the request and its client. */
function modeOf (
  setting: 'asked' | 'on' | 'off',
  { prefer, query = {}, path = 'plain', key = {} }: { prefer?: string, query?: object, path?: BasePath, key?: object },
  hasIds = true
): string {
  const request = { headers: { prefer }, query, principal: { dropIn: { ...defaultDropIn, ...key } } }
  const signs = { path, byToken: false, byWebhook: false }
  const settings = { SDAPI_EARLY_JOB_ID: setting, TRACKER_ENABLED: hasIds }
  return answerMode(request as unknown as FastifyRequest, signs, settings).kind
}

t.test('clients get the id early if they ask for it, all of them, or none, as the setting says', async t => {
  const asking = {
    'the header': { prefer: 'early-job-id' },
    'the header among others': { prefer: 'handling=lenient, Early-Job-Id; x=1' },
    'the base path of the tracker': { path: 'tracker' },
    'the key': { key: { earlyJobId: true } }
  } as const
  const others = {
    'nothing at all': {},
    'another preference': { prefer: 'wait=5' },
    'a key that wants none': { key: { earlyJobId: false } },
    'the tracker\'s path and a header against it': { path: 'tracker', prefer: 'early-job-id=0' },
    'the key and a header against it': { key: { earlyJobId: true }, prefer: 'early-job-id=false' }
  } as const
  for (const [name, signs] of Object.entries(asking)) t.equal(modeOf('asked', signs), 'early', name)
  for (const [name, signs] of Object.entries(others)) t.equal(modeOf('asked', signs), 'wait', name)
  for (const [name, signs] of Object.entries({ ...asking, ...others })) {
    t.equal(modeOf('on', signs), 'early', name)
    t.equal(modeOf('off', signs), 'wait', name)
  }
  t.equal(modeOf('asked', asking['the header'], false), 'wait', 'where jobs get no id, none can be early')
  t.equal(modeOf('asked', { prefer: 'respond-async, early-job-id' }), 'async', 'an answer at once is more')
  t.equal(modeOf('on', { query: { async: '1' } }), 'async')
  t.equal(modeOf('asked', { path: 'tracker', key: { answer: 'async' } }), 'early', 'the path goes before the key')
  t.equal(modeOf('asked', { path: 'async', query: { async: '0' }, prefer: 'early-job-id' }), 'early')
})

t.test('the setting also accepts the values of the former switch', async t => {
  const read = (value: string) => parseSettings({ SDAPI_EARLY_JOB_ID: value }).SDAPI_EARLY_JOB_ID
  t.equal(read(''), 'asked')
  t.equal(read('asked'), 'asked')
  for (const word of ['on', 'ON', 'true', 'True', '1', 'yes']) t.equal(read(word), 'on', word)
  for (const word of ['off', 'false', 'FALSE', '0', 'no']) t.equal(read(word), 'off', word)
  t.throws(() => read('sometimes'), new SettingsError('SDAPI_EARLY_JOB_ID is "sometimes", but must be asked, on or off'))
})

/** How the transfer of an early answer ended, and its content until then. */
async function rest ({ text }: { text: () => Promise<string> }): Promise<string> {
  return await text().catch((error: NodeJS.ErrnoException) => `broken off: ${error.code}`)
}

async function faultsOf (t: Test, service: Service): Promise<void> {
  service.simulator.setFaults(faults)
  t.teardown(() => { service.simulator.setFaults([]) })
}

t.test('with one service', async t => {
  const service = await startService(t, {
    settings: { JOB_ATTEMPTS: '1', RATE_LIMIT_PER_MINUTE: '0' }, simulator: { stepMilliseconds: 20 }
  })

  await t.test('a requested early id is there before the server has the job, and leads to its images', async t => {
    const { key, secret } = await newKey(service, { drop_in: { early_job_id: true } })
    for (const [name, base, headers] of [
      ['the header', '', early],
      ['the base path', '/tracker', {}],
      ['the key', '', { 'x-api-key': key, 'x-api-secret': secret }]
    ] as const) {
      const answer = await open(service, `${base}/sdapi/v1/txt2img`, someSteps, headers)
      t.equal(answer.status, 200, name)
      t.match(answer.jobId, /^[A-Za-z0-9]{8}$/, name)
      t.equal(answer.headers['content-length'], undefined)
      t.equal(answer.headers['preference-applied'], 'prefer' in headers ? 'early-job-id' : undefined)
      const id = await idOf(service, answer.jobId)
      t.not((await service.job(id)).status, 'completed', `${name}: long before the end`)
      answer.cut()
      t.equal((await service.until(id, 'completed', 'cancelled', 'failed')).status, 'completed', 'it goes on without its caller')
      const found = await call(service, 'GET', `${base}/sdapi/v1/job/${answer.jobId}`, undefined, headers)
      t.match(found.json, { id: answer.jobId, status: 'Completed', images: [/^iVBORw0KGgo/] })
    }
    const answer = await open(service, '/sdapi/v1/txt2img', quick, early)
    t.match(JSON.parse(await answer.text()), { images: [/^iVBORw0KGgo/], info: String }, 'and clients that stay get them')
  })

  await t.test('a failure after the early id aborts the transfer, and both ids report it', async t => {
    await faultsOf(t, service)
    for (const [name, more] of Object.entries(failures)) {
      const answer = await open(service, '/sdapi/v1/txt2img', { ...quick, ...more }, early)
      t.equal(answer.status, 200, name)
      t.equal(await rest(answer), 'broken off: ECONNRESET', name)
      const own = await fetch(`${service.simulator.url}/sdapi/v1/txt2img`, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ ...quick, ...more })
      })
      const { errors } = await own.json() as { errors: string }
      t.equal(own.status, 500)
      const { json } = await call(service, 'GET', `/sdapi/v1/job/${answer.jobId}`)
      t.match(json, { id: answer.jobId, status: 'Failed', images: [] }, name)
      t.ok(String(json.error).includes(errors.slice(0, 40)), `${name}: ${String(json.error)} has the server's own words`)
      for (const id of [answer.jobId, await idOf(service, answer.jobId)]) {
        const status = await call(service, 'GET', `/api/v1/queue/jobs/${id}/status`)
        t.match(status.json, { status: 'failed', error: { message: json.error } }, name)
      }
    }
  })

  await t.test('without chunks, as in HTTP/1.0, a reset aborts the transfer', async t => {
    await faultsOf(t, service)
    const { hostname, port } = new URL(service.url)
    // HTTP/1.0 indicates a proxy, so no client is trusted by address.
    const { key, secret } = await newKey(service)
    const socket = connect(Number(port), hostname)
    const body = JSON.stringify({ ...quick, prompt: 'nan' })
    socket.write(['POST /tracker/sdapi/v1/txt2img HTTP/1.0', 'Host: localhost', 'Content-Type: application/json',
      `Content-Length: ${body.length}`, `X-API-Key: ${key}`, `X-API-Secret: ${secret}`, '', body].join('\r\n'))
    let text = ''
    socket.on('data', chunk => { text += String(chunk) })
    const [error] = await once(socket, 'error') as [NodeJS.ErrnoException]
    t.equal(error.code, 'ECONNRESET')
    t.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*x-job-id: \w{8}\r\n[^]*\r\n\r\n $/)
  })

  await t.test('if the id is not early, a failure has the server\'s own status and body, with the id beside them', async t => {
    await faultsOf(t, service)
    for (const [name, more] of Object.entries(failures)) {
      const own = await call(service.simulator as unknown as Service, 'POST', '/sdapi/v1/txt2img', { ...quick, ...more })
      for (const headers of [{}, { prefer: 'respond-async, wait=60' }] as const) {
        const answer = await open(service, '/sdapi/v1/txt2img', { ...quick, ...more }, headers)
        t.equal(answer.status, own.status, name)
        t.same(JSON.parse(await answer.text()), own.json, name)
        t.match(answer.jobId, /^[A-Za-z0-9]{8}$/, name)
      }
    }
    const refused = await open(service, '/sdapi/v1/txt2img', { ...quick, sampler_name: 'nope' }, early)
    t.equal(refused.status, 422, 'what is refused before it is a job has no id, early or not')
    t.equal(refused.headers['x-job-id'], undefined)
  })

  await t.test('an interrupted call is no failure; a call that another client cancels before its first image is', async t => {
    const ways: ReadonlyArray<readonly [string, Record<string, string>]> = [['late', {}], ['early', early]]
    for (const [name, headers] of ways) {
      const interrupted = open(service, '/sdapi/v1/txt2img', slow, headers)
      await running(service)
      await service.request('POST', '/sdapi/v1/interrupt', {})
      t.match(JSON.parse(await (await interrupted).text()), { images: [/^iVBOR/] }, `${name}: the images made so far`)

      service.simulator.setFaults([{ kind: 'hang', prompt: 'blocking', sticky: true }])
      const blocking = open(service, '/sdapi/v1/txt2img', { ...quick, prompt: 'blocking' })
      await running(service)
      const cancelled = open(service, '/sdapi/v1/txt2img', { ...quick, prompt: 'behind it' }, headers)
      const waits = await pending(service)
      await service.request('POST', `/api/v2/jobs/${waits}/cancel`)
      const answer = await cancelled
      const text = await rest(answer)
      if (name === 'early') t.equal(text, 'broken off: ECONNRESET')
      else t.match({ status: answer.status, body: JSON.parse(text) }, { status: 500, body: { error: 'InterruptedError', errors: /cancelled/ } })
      const { json } = await call(service, 'GET', `/sdapi/v1/job/${answer.jobId}`)
      t.match(json, { status: 'Failed', error: /cancelled/, images: [] })

      const deleted = open(service, '/sdapi/v1/txt2img', { ...quick, prompt: 'behind it' }, headers)
      await service.request('DELETE', `/api/v2/jobs/${await pending(service)}`)
      const gone = await deleted
      const left = await rest(gone)
      if (name === 'early') t.equal(left, 'broken off: ECONNRESET')
      else t.match({ status: gone.status, body: JSON.parse(left) }, { status: 500, body: { error: 'InterruptedError', errors: /deleted|cancelled/ } })
      service.simulator.setFaults([])
      await (await blocking).text()
    }
  })

  await t.test('the base paths lead to every route of A1111 that clients use, and to their own list of jobs', async t => {
    await service.request('POST', '/sdapi/v1/txt2img', quick)
    for (const base of ['/tracker', '/async']) {
      for (const path of ['/internal/ping', '/config', '/app_id', '/user', '/sdapi/v1/options', '/sdapi/v1/samplers',
        '/sdapi/v1/progress', '/sdapi/v1/sd-models', '/sdapi/v1/memory', '/controlnet/model_list', '/internal/pending-tasks']) {
        t.equal((await service.request('GET', base + path)).status, (await service.request('GET', path)).status, base + path)
      }
      t.match(await service.request('POST', `${base}/internal/progress`, { id_task: 'x' }), { status: 200, body: { active: false } })
      t.match(await service.request('GET', `${base}/sdapi/v1/nope`), { status: 404, body: { detail: 'Not Found' } })
      t.equal((await fetch(service.url + base, { redirect: 'manual' })).headers.get('location'), '/')
    }
    const { key, secret } = await newKey(service, { drop_in: { answer: 'async' } })
    const keyed = { 'x-api-key': key, 'x-api-secret': secret }
    const { status } = await call(service, 'POST', '/tracker/sdapi/v1/txt2img', { ...quick, prompt: 'of the key' }, keyed)
    t.equal(status, 200, 'the tracker waits, whatever the key says')
    service.simulator.setFaults([{ kind: 'nan' }])
    await rest(await open(service, '/tracker/sdapi/v1/txt2img', { ...quick, prompt: 'fails' }, keyed))
    const { json } = await call<Fields[]>(service, 'GET', '/tracker/sdapi/v1/jobs', undefined, keyed)
    t.strictSame(json.map(job => job.status), ['Failed', 'Completed'], 'and has its own list')
  })

  await t.test('a key keeps its other preferences when one of them changes', async t => {
    const { body } = await service.request('POST', '/api/v1/api-keys', { name: 'a', drop_in: { server: 'Main', on_hang_up: 'cancel' } })
    const { id } = body.api_key as { id: string }
    const usual = { answer: 'wait', on_hang_up: 'cancel', server: 'Main', early_job_id: false }
    t.match(body, { api_key: { drop_in: usual } })
    const changed = await service.request('PUT', `/api/v1/api-keys/${id}`, { drop_in: { early_job_id: true } })
    t.match(changed, { status: 200, body: { api_key: { drop_in: { ...usual, early_job_id: true } } } })
    const cleared = await service.request('PUT', `/api/v1/api-keys/${id}`, { drop_in: { server: null } })
    t.match(cleared.body, { api_key: { drop_in: { ...usual, early_job_id: true, server: null } } })
    t.match((await service.request('GET', `/api/v1/api-keys/${id}`)).body, { api_key: { drop_in: { server: null, early_job_id: true } } })
    const wrong = await service.request('PUT', `/api/v1/api-keys/${id}`, { drop_in: { early_job_id: 'on' } })
    t.match(wrong, { status: 400, body: { details: { field: 'drop_in.early_job_id' } } })
  })
})

t.test('while an early answer waits, a blank follows every 15 seconds, so that proxies do not cut it off', async t => {
  const asked: number[] = []
  let resume = () => {}
  const service = await startService(t, {
    worker: 'none',
    async pause (milliseconds) {
      asked.push(milliseconds)
      await new Promise<void>(resolve => { resume = resolve })
    }
  })
  const answer = await open(service, '/sdapi/v1/txt2img', quick, early)
  t.equal(await answer.piece(), ' ', 'at once')
  for (let blank = 1; blank <= 3; blank++) {
    const next = answer.piece()
    resume()
    t.equal(await next, ' ')
    t.ok(asked.length >= blank && asked.every(milliseconds => milliseconds === 15_000), asked.join())
  }
  await service.request('POST', '/sdapi/v1/interrupt', {})
  t.match(JSON.parse(await answer.text()), { images: [], info: String })
})

t.test('a stopping service reports that while it can, and aborts answers that have begun', async t => {
  const service = await startService(t, { worker: 'none' })
  const late = open(service, '/sdapi/v1/txt2img', quick)
  const begun = await open(service, '/sdapi/v1/txt2img', quick, early)
  const halfway = open(service, '/sdapi/v1/txt2img', quick, { prefer: 'respond-async, wait=60' })
  while ((await service.request('GET', '/api/v2/jobs?status=pending')).body.total !== 3) await sleep(10)
  const [, ended, answer, accepted] = await Promise.all([service.app.close(), rest(begun), late, halfway])
  t.equal(ended, 'broken off: ECONNRESET')
  t.equal(answer.status, 503)
  t.match(answer.jobId, /^[A-Za-z0-9]{8}$/)
  t.match(answer.headers, { 'retry-after': /^\d+$/ })
  t.match(JSON.parse(await answer.text()), { error: 'HTTPException', detail: /X-Job-ID/ })
  t.equal(accepted.status, 202, 'who takes an id for an answer gets it')
})

/** Id of the only job in this state. */
async function jobIn (service: Service, status: string): Promise<string> {
  for (;;) {
    const { jobs } = (await service.request('GET', `/api/v2/jobs?status=${status}`)).body as { jobs: Array<{ id: string }> }
    if (jobs[0] !== undefined) return jobs[0].id
    await sleep(10)
  }
}

const running = async (service: Service) => await jobIn(service, 'processing')
const pending = async (service: Service) => await jobIn(service, 'pending')
