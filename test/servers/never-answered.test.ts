import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { freePort } from '../support/free-port.ts'
import { quick, startService } from '../helper.ts'
import { registerAs } from '../../src/servers/discover.ts'

const service = await startService(t, { servers: {} })
const { services, request, until, simulator } = service
await registerAs(services.registry, 'Simulator', { baseUrl: simulator.url }, 'simulator')
const silent = `http://127.0.0.1:${await freePort()}`
await request('POST', '/api/v1/servers', { alias: 'Typo', apiUrl: silent })

interface Hint { readonly code: string, readonly message: string, readonly field?: string }

async function submit (target: string, more: object = {}) {
  return await request('POST', '/api/v2/generate', { target_server_alias: target, generation_params: quick, ...more })
}

async function server (alias: string) {
  return (await request('GET', `/api/v1/servers/${alias}`)).body
}

/** Waits for checks of a server, which run in the background. */
async function untilServer (alias: string, fits: (view: Awaited<ReturnType<typeof server>>) => boolean) {
  for (;;) {
    const view = await server(alias)
    if (fits(view)) return view
    await sleep(10)
  }
}

t.test('a server that never answered says so, and hides nothing of others', async t => {
  t.match(await untilServer('Typo', ({ checked_at: at }) => at !== null), {
    health: 'offline', last_answer_at: null, kind: null
  })
  const simulated = await untilServer('Simulator', ({ health }) => health === 'online')
  t.ok(Date.parse(String(simulated.last_answer_at)) > Date.now() - 120_000)
  t.match((await request('GET', '/api/v1/servers/Typo')).body, { last_answer_at: null })
  const checkpoints = (await request('GET', '/api/v1/checkpoints')).body as unknown as unknown[]
  t.ok(checkpoints.length > 0, 'the models of the simulator stay in the catalogue')
  const models = (await request('GET', '/models')).body as { checkpoints: unknown[] }
  t.ok(models.checkpoints.length > 0, 'and in the lists of bots')
})

t.test('it takes no automatic job', async t => {
  const accepted = await submit('default')
  t.strictSame(accepted.body.warnings, [])
  const job = await until(String(accepted.body.job_id), 'completed')
  t.match(job, { target_server_alias: 'Simulator' })
})

t.test('a job for a server that is away is accepted with a hint', async t => {
  const accepted = await submit('Typo')
  t.equal(accepted.status, 202)
  const [hint] = accepted.body.warnings as Hint[]
  t.match(hint, { code: 'server_offline', field: 'target_server_alias', message: /^Typo has not answered yet\..*choose another/ })
  t.match((await submit('Typo', { dry_run: true })).body, { warnings: [{ code: 'server_offline' }] }, 'which can be read before')
  const { body } = await request('GET', `/api/v2/jobs/${String(accepted.body.job_id)}`)
  t.match(body.job, { status: 'pending', warnings: [] }, 'the job does not keep what can change')

  t.match((await submit('Simulator')).body.warnings, [])
  await request('PUT', '/api/v1/servers/Typo', { enabled: false })
  t.match((await submit('Typo')).body.warnings, [{ code: 'server_disabled', message: /^Typo is disabled/ }])
})

t.test('once nothing answers, the hint comes without a named server, and the last answer stays known', async t => {
  const { last_answer_at: before } = await server('Simulator')
  await simulator.close()
  const view = await untilServer('Simulator', ({ health }) => health === 'offline')
  t.ok(Date.parse(String(view.last_answer_at)) >= Date.parse(String(before)))
  let hint: Hint | undefined
  // A submission uses a copy of what is known of the servers that is up to a second old.
  while (hint === undefined) {
    await sleep(10);
    [hint] = (await submit('default', { dry_run: true })).body.warnings as Hint[]
  }
  t.match(hint, { code: 'server_offline', message: /^No server that can run the job is up: Simulator does not answer\./ })
})

t.end()
