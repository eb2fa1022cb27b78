import t from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerCheckView } from '../../schemas/server-check.ts'
import { quick, startService, testCheckLimits, type Service } from '../helper.ts'

const path = '/api/v2/servers/Main/check'

const check = async (service: Service, method = 'GET', body?: object) => {
  const answer = await service.request(method, path, body)
  return { ...answer, body: answer.body as unknown as ServerCheckView }
}

async function begin (service: Service, body?: object) {
  const { status } = await check(service, 'POST', body)
  if (status !== 202) throw new Error(`The check was not accepted: ${status}`)
}

/** Resolves when the check or one of its steps has this state. @throws Error if the check ends before */
async function until (service: Service, isSo: (running: NonNullable<ServerCheckView['check']>) => boolean) {
  for (;;) {
    const { body } = await check(service)
    if (body.check !== null && isSo(body.check)) return
    if (body.check?.state === 'ended') throw new Error(`The check ended before: ${body.report?.reason}`)
    await sleep(10)
  }
}

/** The report, once the check is over. */
async function ended (service: Service) {
  for (;;) {
    const { body } = await check(service)
    if (body.check?.state === 'ended' && body.report !== null) return body.report
    await sleep(20)
  }
}

const options = async ({ simulator }: Service) =>
  await (await fetch(`${simulator.url}/sdapi/v1/options`)).json() as Record<string, unknown>

/** A slow machine can take long for the running job; one test waits for less. */
const checkLimits = { ...testCheckLimits, waitMs: 120_000 }
const service = await startService(t, { simulator: { stepMilliseconds: 5 }, checkLimits })

t.test('a server is checked while its queue waits, and everything is as before', async t => {
  const before = await options(service)
  const asked = await check(service, 'POST')
  t.equal(asked.status, 202)
  t.match(asked.headers.get('location'), path)
  const waiting = await service.submit(quick)
  t.match((await service.request('GET', '/api/v1/servers/Main')).body, {
    paused: true, checking: true, pause_reason: 'A thorough check of the server is running.'
  })
  t.match(await check(service, 'POST'), { status: 409, body: { error: 'check_running' } })
  t.equal((await service.job(waiting)).status, 'pending')
  const report = await ended(service)
  t.match(report, { outcome: 'finished', put_back: 'done', server: { alias: 'Main', kind: 'simulator' } })
  t.equal((await service.until(waiting, 'completed', 'failed')).status, 'completed')
  t.same(await options(service), before)
  t.match((await service.request('GET', '/api/v1/servers/Main')).body, {
    paused: false,
    checking: false,
    pause_reason: null,
    learned: { tells_tasks_apart: true, interrupts: true, checked_at: String, check_version: 1 }
  })
})

t.test('a server that an operator has paused stays paused', async t => {
  await service.request('POST', '/api/v1/servers/Main/pause', { reason: 'Mine' })
  await begin(service)
  t.match((await service.request('GET', '/api/v1/servers/Main')).body, { paused: true, checking: true, pause_reason: 'Mine' })
  t.match(await ended(service), { outcome: 'finished' })
  t.match((await service.request('GET', '/api/v1/servers/Main')).body, { paused: true, checking: false, pause_reason: 'Mine' })
  await service.request('POST', '/api/v1/servers/Main/resume')
})

t.test('the running job ends first', async t => {
  service.simulator.setFaults([{ kind: 'hang', times: 1 }])
  const running = await service.submit(quick)
  await service.until(running, 'processing')
  await begin(service)
  await until(service, ({ state }) => state === 'waiting')
  service.simulator.setFaults([])
  await ended(service)
  t.equal((await service.until(running, 'completed', 'failed')).status, 'completed')
  const { generations } = service.simulator.state()
  const own = generations.findIndex(({ taskId }) => taskId === running)
  t.ok(Number(generations[own]?.finishedAt) <= Number(generations[own + 1]?.startedAt))
  t.match(generations[own + 1]?.taskId, /^stablequeue-check-/)
})

t.test('a check does not overlap with a person\'s generation, and waits only for a limited time', async t => {
  const { interrupts } = service.simulator.state()
  service.simulator.startBrowserJob({ steps: 100_000 })
  checkLimits.waitMs = 500
  await begin(service)
  const report = await ended(service)
  checkLimits.waitMs = 120_000
  t.match(report, { outcome: 'broken_off', reason: /Somebody else's generation was running/, generations: { made: 0 } })
  t.equal(service.simulator.state().interrupts, interrupts, 'it is not interrupted')
  await fetch(`${service.simulator.url}/sdapi/v1/interrupt`, { method: 'POST' })
  while (service.simulator.state().inFlight > 0) await sleep(10)
})

t.test('a cancelled check puts everything back', async t => {
  const before = await options(service)
  service.simulator.setFaults([{ kind: 'hang', times: 1 }])
  await begin(service)
  await until(service, ({ steps }) => steps.find(({ name }) => name === 'generation')?.state === 'running')
  t.equal((await check(service, 'DELETE')).status, 202)
  service.simulator.setFaults([])
  t.match(await ended(service), { outcome: 'cancelled', verdict: 'unknown' })
  t.same(await options(service), before)
  t.match(await check(service, 'DELETE'), { status: 404, body: { error: 'check_not_found' } })
})

t.test('a check needs servers:admin, a server with a worker, and known fields', async t => {
  const { accessKey, secret } = await service.services.accessKeys.create({ name: 'reader', scopes: ['servers:read', 'jobs:write'] })
  const headers = { 'x-api-key': accessKey.key, 'x-api-secret': secret }
  for (const method of ['POST', 'GET', 'DELETE']) {
    t.match(await service.request(method, path, undefined, headers),
      { status: 403, body: { error: 'permission_denied', message: /servers:admin/ } }, method)
  }
  t.match(await check(service, 'POST', { speed: 1 }), { status: 400, body: { details: { field: 'speed' } } })
  t.match(await check(service, 'POST', { minutes: 0 }), { status: 400, body: { details: { field: 'minutes' } } })
  t.match(await check(service, 'POST', { checkpoint: 'dreamscpe' }), {
    status: 422, body: { error: 'checkpoint_not_found', details: { field: 'checkpoint', nearest: [/dreamscape/] } }
  })
  t.match(await check(service, 'POST', { checkpoint: 'dreamscape-v8' }), { status: 400, body: { details: { field: 'checkpoint' } } })
  t.match(await service.request('POST', '/api/v2/servers/Nobody/check'), { status: 404, body: { error: 'server_not_found' } })
  await service.request('POST', '/api/v1/servers', { alias: 'Off', apiUrl: 'http://127.0.0.1:9', enabled: false })
  t.match(await service.request('POST', '/api/v1/servers/Off/check'), { status: 409, body: { error: 'server_not_served' } })
})

t.test('a second checkpoint shows whether the selection is kept, and the former one is selected again', async t => {
  const before = await options(service)
  await begin(service, { checkpoint: 'anime-pastel' })
  const report = await ended(service)
  t.match(report, { outcome: 'finished', traits: { keeps_selection: true } })
  t.equal((await options(service)).sd_model_checkpoint, before.sd_model_checkpoint)
  t.notMatch(JSON.stringify(report), /anime-pastel|dreamscape|127\.0\.0\.1|grey square/)
})

t.test('a server that dies during the check gets everything back once it answers', async t => {
  const before = await options(service)
  service.simulator.setFaults([{ kind: 'crash-mid', refuseMilliseconds: 300, times: 1, prompt: 'grey' }])
  await begin(service)
  t.match(await ended(service), { outcome: 'broken_off', reason: /stopped answering/ })
  const id = await service.submit(quick)
  t.equal((await service.until(id, 'completed', 'failed')).status, 'completed', 'the line goes on by itself')
  t.same(await options(service), before)
  t.not((await ended(service)).put_back, 'pending')
})
