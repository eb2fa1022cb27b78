import t from 'tap'
import { startService } from '../helper.ts'
import { forgeExtensionParameters } from './bodies.ts'
import { asking, failNext, jsonOf, serverGone, type Fields } from './http.ts'

/** StableQueue-Forge-Extension: servers by alias, jobs with 202, and a script of its own that tests the connection. */
const service = await startService(t, { settings: { JOB_ATTEMPTS: '1', UI_AUTH: 'token' } })
const { accessKey, secret } = await service.services.accessKeys.create({ name: 'Forge', scopes: ['jobs:write', 'jobs:read', 'servers:read'] })
const ask = asking(service, { 'X-API-Key': accessKey.key, 'X-API-Secret': secret })

const parameters = { ...forgeExtensionParameters, positive_prompt: 'a lighthouse', steps: 3 }

/** Only 202 is success; the id is under the oldest of its names. */
async function submitted (more: Fields = {}): Promise<string | false> {
  const response = await ask('POST', '/api/v2/generate', {
    json: {
      app_type: 'forge',
      target_server_alias: 'Main',
      generation_params: { ...parameters, ...more },
      source_info: 'forge_extension_v1.0.0'
    }
  })
  if (response.status !== 202) return false
  return String((await jsonOf(response)).mobilesd_job_id ?? 'unknown')
}

async function aliases (path = '/api/v1/servers'): Promise<unknown[]> {
  return (await jsonOf<Fields[]>(ask('GET', path))).map(({ alias }) => alias)
}

t.test('its connection test: status, servers with and without its key, a job, a bulk of three', async t => {
  t.equal((await asking(service)('GET', '/status')).status, 200)
  t.strictSame(await aliases(), ['Main'])
  t.strictSame(await aliases('//api/v1/servers'), ['Main'], 'with the slash that a configured address ends in')
  const wrong = asking(service, { 'X-API-Key': accessKey.key, 'X-API-Secret': 'wrong' })
  t.equal((await wrong('GET', '/api/v1/servers')).status, 401)
  const json = {
    app_type: 'forge',
    target_server_alias: 'Main',
    generation_params: { ...parameters, seed: -1 },
    source_info: 'stablequeue_forge_extension_test'
  }
  const one = await jsonOf(ask('POST', '/api/v2/generate', { json }))
  t.type(one.stablequeue_job_id ?? one.mobilesd_job_id, 'string')
  const bulk = await jsonOf(ask('POST', '/api/v2/generate/bulk', {
    json: { ...json, bulk_quantity: 3, seed_variation: 'random', job_delay: 1 }
  }))
  t.equal(bulk.total_jobs, 3)
})

t.test('a job that it queues completes with the parameters of the form', async t => {
  const id = await submitted({ checkpoint_name: 'sdxl\\juggernaut-xl.safetensors', seed: 31 })
  const job = await untilEnded(String(id))
  t.match(job, { status: 'completed', generation_params: { positive_prompt: 'a lighthouse', seed: 31 } })
  t.match(service.simulator.state().generations.at(-1), { checkpoint: 'sdxl/juggernaut-xl.safetensors', seed: 31 })
})

t.test('jobs that it cannot queue get an error at once, later failures are in the job', async t => {
  t.equal(await submitted({ sampler_name: 'nope' }), false)
  t.equal(await submitted({ steps: 'many' }), false)
  failNext(service)
  const id = await submitted()
  t.match(await untilEnded(String(id)), { status: 'failed', error: { message: /shapes cannot be multiplied/ } })
})

t.test('its servers and its queue are there while the server is away', async t => {
  await serverGone(service)
  t.strictSame(await aliases(), ['Main'])
  t.type(await submitted(), 'string')
})

/** Its page polls the state of a job until the job ends. */
async function untilEnded (id: string): Promise<Fields> {
  for (;;) {
    const { job } = await jsonOf<{ job: Fields }>(ask('GET', `/api/v2/jobs/${id}/status`))
    if (job.status !== 'pending' && job.status !== 'processing') return job
    await new Promise(resolve => { setTimeout(resolve, 20) })
  }
}
