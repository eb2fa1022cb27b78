import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { maxSends } from '../../src/jobs/job.ts'
import { startSimulator, type Simulator } from '../../src/simulator/simulator.ts'
import { onNotices, quick, startService, type Answer, type Service } from '../helper.ts'

/** Failures of only some requests or routes at a server that answers all others. */
const service = await startService(t, {
  simulator: { stepMilliseconds: 10 }, settings: { RETRY_BACKOFF_SECONDS: '1' }
})
const { simulator, services } = service
const [main] = services.registry.list()
const serverId = main?.id ?? ''
const image = (await sharp({ create: { width: 64, height: 64, channels: 3, background: 'grey' } }).png().toBuffer()).toString('base64')
const sticky = { sticky: true } as const
const endless = { kind: 'slow', factor: 20, ...sticky } as const
const atMain = { target_server_alias: 'Main' } as const
const ended = ['completed', 'failed', 'cancelled'] as const

type ServerBody = { health: string, last_error: string | null }
const view = async (of: Service = service) => (await of.request('GET', '/api/v1/servers/Main')).body as unknown as ServerBody

async function end (id: string, of: Service = service) {
  return await of.until(id, ...ended)
}

/** Every state of the server since a time, except healthy ones. */
async function troubles (since: number): Promise<string[]> {
  const samples = await services.states.history.read(serverId)
  return samples.filter(({ at, reachable }) => at >= since && reachable !== 'yes').map(({ reachable }) => reachable)
}

async function holdToBound (t: Test, ids: readonly string[], at: Simulator = simulator): Promise<void> {
  for (const id of ids) {
    const record = await services.store.get(id)
    t.ok((at.state().sends[id] ?? 0) <= maxSends(record, 3), `sends of ${id}`)
  }
}

async function addServer (t: Test, alias: string, checkpoints?: readonly string[]): Promise<Simulator> {
  const other = await startSimulator({ stepMilliseconds: 2, loadMilliseconds: 0, checkpoints })
  t.teardown(async () => {
    await service.request('DELETE', `/api/v1/servers/${alias}?jobs=cancel`)
    await other.close()
  })
  t.equal((await service.request('POST', '/api/v1/servers', { alias, apiUrl: other.url })).status, 201)
  await service.request('POST', `/api/v1/servers/${alias}/test`)
  return other
}

t.afterEach(() => { simulator.reset() })

t.test('six failing jobs of one client do not delay another\'s', async t => {
  const begun = Date.now()
  simulator.setFaults([{ kind: 'runtime-error', message: 'something odd at 0x7f3a2b', prompt: 'odd', ...sticky }])
  const script = { script_name: 'X/Y/Z plot', script_args: [0, '', [], 0, '', [], 0, '', [], true] }
  const bad: string[] = []
  for (let number = 0; number < 6; number++) bad.push(await service.submit({ ...quick, ...script, prompt: `odd ${number}` }))
  const innocent = await service.submit(quick)
  t.match(await end(innocent), { status: 'completed' })
  for (const id of bad) t.match(await end(id), { status: 'failed', error: { code: 'server_error', message: /something odd/ } })
  t.same(await troubles(begun), [], 'the server was in use all the time')
  const sends = bad.map(id => simulator.state().sends[id] ?? 0)
  t.ok(Math.max(...sends) <= 2, `the same error twice is enough: ${sends}`)
  await holdToBound(t, bad)
})

t.test('different errors of different requests give a server a break, after which another job is the trial', async t => {
  simulator.setFaults(['red', 'green', 'blue'].map(prompt =>
    ({ kind: 'runtime-error', message: `the ${prompt} one is broken`, prompt, ...sticky })))
  const begun = Date.now()
  const bad: string[] = []
  // A job that is sent again before all have failed once would count as the request's own error.
  await service.request('POST', '/api/v1/servers/Main/pause')
  for (const prompt of ['red', 'green', 'blue']) bad.push(await service.submit({ ...quick, prompt }))
  const innocent = await service.submit(quick)
  await service.request('POST', '/api/v1/servers/Main/resume')
  t.match(await end(innocent), { status: 'completed' })
  for (const id of bad) t.match(await end(id), { status: 'failed', error: { message: /one is broken/ } })
  t.same(new Set(await troubles(begun)), new Set(['suspected']), 'it answers its looks, so it is not offline')
  const [trial] = simulator.state().generations.slice(bad.length)
  t.match(trial, { taskId: innocent }, 'the trial is a job that has not failed there')
  const samples = await services.states.history.read(serverId)
  const rest = samples.find(({ at, reachable }) => at >= begun && reachable === 'suspected')
  t.ok((rest?.at ?? Infinity) <= (trial?.startedAt ?? 0), 'after the break')
  await holdToBound(t, bad)
  t.match(await view(), { last_error: null })
})

t.test('a job on a GPU process that another job has found broken uses no attempt, however late the restart', async t => {
  simulator.setFaults([{ kind: 'cuda-poisoned', prompt: 'culprit' }])
  const [culprit, innocent] = [await service.submit({ ...quick, prompt: 'culprit' }), await service.submit(quick)]
  const records = async () => await Promise.all([culprit, innocent].map(async id => await services.store.get(id)))
  await onNotices(services, async () => (await records()).flatMap(({ attempts }) => attempts).length >= 3 || undefined)
  const [first, second] = await records()
  t.ok(first?.usedAttempts === first?.attempts.length && second?.usedAttempts === 0)
  t.ok([1, 2].includes(second?.attempts.length ?? 0), 'they are the trial in turns')
  await simulator.restart({})
  for (const id of [culprit, innocent]) t.match(await end(id), { status: 'completed' })
  await holdToBound(t, [culprit, innocent])
})

t.test('longer generations are not sent to a proxy whose time limit was seen twice', async t => {
  const other = await addServer(t, 'Other')
  simulator.setFaults([{ kind: 'gateway-timeout', afterMilliseconds: 250, ...sticky }])
  const long = { ...quick, steps: 60 }
  const first = await service.submit(long, atMain)
  t.match(await end(first), { status: 'failed', attempts: [{ code: 'bad_gateway' }, { code: 'bad_gateway' }] })
  t.same(simulator.state().generations.map(({ taskId, interrupted, outcome }) => ({ taskId, interrupted, outcome })),
    [1, 2].map(() => ({ taskId: first, interrupted: false, outcome: 'done' })), 'what ran on was left to end')
  const second = await service.submit({ ...long, steps: 80 }, atMain)
  t.match(await end(second), { status: 'failed', error: { code: 'bad_gateway', message: /gives up after.*needs about/ } })
  t.equal(simulator.state().sends[second], undefined, 'it was not sent in vain')
  t.match(await end(await service.submit({ ...quick, steps: 3 }, atMain)), { status: 'completed' }, 'a short one is')
  await service.request('POST', '/api/v1/servers/Other/pause')
  const free = await service.submit(long)
  await service.request('POST', '/api/v1/servers/Other/resume')
  const done = await end(free)
  t.equal(done.status, done.target_server_alias === 'Other' ? 'completed' : 'failed')
  t.ok(other.state().generations.length <= 1)
  simulator.setFaults([])
  t.equal((await service.request('POST', `/api/v2/jobs/${second}/retry`)).status, 200)
  t.match(await end(second), { status: 'completed' }, 'who retries it has raised the limit')
  t.match(await end(await service.submit(long, atMain)), { status: 'completed' }, 'so the limit is forgotten')
  await holdToBound(t, [first, second, free])
})

t.test('a job that still runs behind a proxy can be cancelled, and is interrupted then', async t => {
  simulator.setFaults([{ kind: 'gateway-timeout', afterMilliseconds: 50, ...sticky }, endless])
  const id = await service.submit({ ...quick, steps: 150 })
  while (simulator.state().generations.length === 0) await new Promise(resolve => { setTimeout(resolve, 20) })
  await new Promise<void>(resolve => { setTimeout(resolve, 300) })
  t.match(await service.job(id), { status: 'processing', attempts: [] }, 'it is waited for')
  t.equal((await service.request('POST', `/api/v2/jobs/${id}/cancel`)).status, 200)
  t.match(await end(id), { status: 'cancelled' })
  t.match(simulator.state().generations, [{ taskId: id, interrupted: true }])
})

t.test('a job that still runs behind a proxy ends at its own deadline', async t => {
  await services.registry.update(serverId, { jobTimeoutSeconds: 1 })
  simulator.setFaults([{ kind: 'connection-cut', afterMilliseconds: 50, times: 1 }, { ...endless, times: 1, sticky: false }])
  const id = await service.submit({ ...quick, steps: 150 })
  t.match(await end(id), { status: 'failed', error: { code: 'deadline_passed' } })
  await services.registry.update(serverId, { jobTimeoutSeconds: null })
  t.match(await end(await service.submit(quick)), { status: 'completed' }, 'the line goes on')
  t.match(simulator.state().generations[0], { taskId: id, interrupted: true })
})

t.test('a route that is missing at work is a capability that the server lacks, until it is restarted', async t => {
  const submitAgain = async () => await service.request('POST', '/api/v2/generate', {
    ...atMain, generation_params: { ...quick, init_images: [image] }
  })
  const changed = async () => { await services.registry.update(serverId, { jobTimeoutSeconds: null }) }
  const restarted = async () => {
    await simulator.crash(Infinity)
    while ((await services.states.read(serverId))?.reachable !== 'no') await sleep(20)
    await simulator.crash(0)
  }
  for (const [fault, remedy] of [[{ status: 404 }, changed], [{ status: 405, page: true }, restarted]] as const) {
    simulator.setFaults([{ kind: 'missing-route', path: '/sdapi/v1/img2img', method: 'POST', ...fault, ...sticky }])
    const accepted = await untilStatus(submitAgain, 202)
    const id = String(accepted.body.job_id)
    t.match(await end(id), {
      status: 'failed', error: { code: 'server_capability', message: /Main does not offer \/sdapi\/v1\/img2img/ }, attempts: [{}]
    })
    t.equal((await services.store.get(id)).sends, 1)
    t.match(await untilStatus(submitAgain, 422), { body: { error: 'server_capability' } }, 'no further one is accepted')
    t.match(await end(await service.submit(quick)), { status: 'completed' }, 'what it offers is done')
    t.match((await view()).health, /online|busy/)
    simulator.setFaults([])
    await remedy()
  }
  t.match(await end(String((await untilStatus(submitAgain, 202)).body.job_id)), { status: 'completed' })
})

t.test('a route that is missing from the start is known before any job', async t => {
  const bare = await startService(t)
  bare.simulator.setFaults([{ kind: 'missing-route', path: '/sdapi/v1/txt2img', ...sticky }])
  await bare.services.registry.update(bare.services.registry.list()[0]?.id ?? '', { jobTimeoutSeconds: null })
  const refused = await untilStatus(async () =>
    await bare.request('POST', '/api/v2/generate', { target_server_alias: 'Main', generation_params: quick }), 422)
  t.match(refused.body, { error: 'server_capability', message: /no txt2img/ })
})

t.test('a job without a target that is blocked at one server goes to another that can run it', async t => {
  const other = await addServer(t, 'Other', ['another.safetensors'])
  simulator.setFaults([{ kind: 'forbidden', ...sticky }])
  // Only Main is free.
  await service.until(await service.submit({ ...quick, steps: 100 }, { target_server_alias: 'Other' }), 'processing')
  const id = await service.submit(quick)
  t.match(await end(id), { status: 'completed', target_server_alias: 'Other', attempts: [{ code: 'forbidden' }] })
  t.same([simulator.state().sends[id], other.state().sends[id]], [1, 1])
  const [checkpoint] = (await services.states.inventory(serverId))?.checkpoints ?? []
  const bound = await service.submit({ ...quick, checkpoint_name: checkpoint?.title })
  t.match(await end(bound), { status: 'failed', target_server_alias: 'Main', error: { code: 'forbidden' } })
})

t.test('other calls report the capability that their server lacks', async t => {
  for (const path of ['/sdapi/v1/interrogate', '/controlnet/detect']) {
    simulator.setFaults([{ kind: 'missing-route', path, method: 'POST' }])
    const { status, body } = await service.request('POST', path, { image, controlnet_input_images: [image] })
    t.equal(status, 422, path)
    t.match(JSON.stringify(body), `Main does not offer ${path}.`)
  }
})

/** The first answer with this status; all processes know what a server offers within seconds. */
async function untilStatus (call: () => Promise<Answer>, status: number): Promise<Answer> {
  for (;;) {
    const answer = await call()
    if (answer.status === status) return answer
    await new Promise(resolve => { setTimeout(resolve, 100) })
  }
}

t.test('a firewall that blocks some requests does not take the server from other jobs', async t => {
  const begun = Date.now()
  const cutting = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => {
      const body = Buffer.concat(chunks)
      if (body.includes('forbidden words')) {
        request.socket.resetAndDestroy()
        return
      }
      const { method, headers, url } = request
      httpRequest(new URL(url ?? '/', simulator.url), { method, headers }, answer => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
      }).on('error', () => response.destroy()).end(body)
    })
  })
  cutting.listen(0, '127.0.0.1')
  await once(cutting, 'listening')
  t.teardown(() => { cutting.close() })
  const apiUrl = `http://127.0.0.1:${(cutting.address() as AddressInfo).port}`
  t.equal((await service.request('POST', '/api/v1/servers', { alias: 'Cut', apiUrl })).status, 201)
  await service.request('POST', '/api/v1/servers/Cut/test')
  const at = { target_server_alias: 'Cut' } as const
  const bad: string[] = []
  for (let number = 0; number < 3; number++) bad.push(await service.submit({ ...quick, prompt: `forbidden words ${number}` }, at))
  t.match(await end(await service.submit(quick, at)), { status: 'completed' })
  for (const id of bad) {
    t.match(await end(id), { status: 'failed', error: { code: 'connection_lost', message: /Cut answers other requests/ } })
    t.ok((await services.store.get(id)).sends <= 2)
  }
  const cut = services.registry.list().find(({ alias }) => alias === 'Cut')
  const seen = await services.states.history.read(cut?.id ?? '')
  t.same(seen.filter(one => one.at >= begun && one.reachable !== 'yes'), [], 'it was in use all the time')
  await service.request('DELETE', '/api/v1/servers/Cut?jobs=cancel')
})
