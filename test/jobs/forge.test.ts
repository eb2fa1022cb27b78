import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { quick, startService } from '../helper.ts'

const forge = await startSimulator({ flavor: 'forge', stepMilliseconds: 1, loadMilliseconds: 0, scripts: ['FreeU'] })
t.teardown(forge.close)

/** The exact requests to the server. */
const posted: string[] = []
const tap = createServer((request, response) => {
  (async () => {
    const body = await text(request)
    if (request.url?.endsWith('2img') === true && request.method === 'POST') posted.push(body)
    const headers = { 'content-type': request.headers['content-type'] ?? 'application/json' }
    const answer = await fetch(forge.url + String(request.url), {
      method: request.method ?? 'GET', headers, ...(request.method === 'POST' ? { body } : {})
    })
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'application/json' })
    response.end(Buffer.from(await answer.arrayBuffer()))
  })().catch(() => { response.destroy() })
})
tap.listen(0, '127.0.0.1')
await once(tap, 'listening')
t.teardown(() => { tap.close() })
const service = await startService(t, {
  servers: { Forge: `http://127.0.0.1:${(tap.address() as AddressInfo).port}` }
})
const run = async (parameters: object, more: object = {}) =>
  await service.until(await service.submit({ ...quick, ...parameters }, { target_server_alias: 'Forge', ...more }), 'completed', 'failed')
const hires = { enable_hr: true, hr_scale: 2, denoising_strength: 0.5 }
const sent = () => JSON.parse(posted.at(-1) ?? '{}') as Record<string, unknown>

t.test('the modules of the second pass are looked up like those of the first', async t => {
  for (const [given, asked] of [
    [undefined, ['Use same choices']],
    [['use same choices'], ['Use same choices']],
    [['sdxl_vae'], ['sdxl_vae.safetensors']],
    [['/opt/models/VAE/SDXL_VAE.safetensors', 't5xxl_fp16'], ['sdxl_vae.safetensors', 't5xxl_fp16.safetensors']],
    [[], []],
    [['Built in'], []]
  ]) {
    t.match(await run({ ...hires, ...(given === undefined ? {} : { hr_additional_modules: given }) }), { status: 'completed' })
    t.strictSame(sent().hr_additional_modules, asked)
  }
  const refused = await service.request('POST', '/api/v2/generate', {
    target_server_alias: 'Forge', generation_params: { ...quick, ...hires, hr_additional_modules: ['sdxl_vae', 'sdxl_va'] }
  })
  t.match(refused, { status: 422, body: { error: 'model_not_found', details: { field: 'hr_additional_modules.1' } } })
  t.match(JSON.stringify(refused.body), 'sdxl_vae.safetensors')
  const dropIn = await service.request('POST', '/sdapi/v1/txt2img', { ...quick, ...hires, hr_additional_modules: ['nope'] })
  t.match(dropIn, { status: 422, body: { detail: /no VAE "nope"/ } })
})

t.test('a missing module is left out and the others stay; without any, the server\'s own choice applies', async t => {
  const run2 = async (modules: string[]) => await run({ ...hires, hr_additional_modules: modules }, { on_missing: 'ignore' })
  t.match(await run2(['nope', 'sdxl_vae']), { status: 'completed', warnings: [{ code: 'model_not_found' }] })
  t.strictSame(sent().hr_additional_modules, ['sdxl_vae.safetensors'])
  await run2(['nope'])
  t.strictSame(sent().hr_additional_modules, ['Use same choices'])
})

t.test('a plot that returns only its grid is complete', async t => {
  const rest = [false, false, false, false, 0, false]
  const plot = (first: unknown[]) => ({ script_name: 'X/Y/Z plot', script_args: [...first, 0, '', [], 0, '', [], true, false, false, ...rest] })
  const job = await run(plot([4, '1,2,3', []]), { on_difference: 'fail' })
  t.match(job, { status: 'completed', warnings: [], images: [{ role: 'grid' }] })
  t.equal(job.images.length, 1)
  for (const script of [
    { script_name: 'Prompt matrix', script_args: [false, false, 'positive', 'comma', 0], prompt: 'a|b' },
    { script_name: 'Prompts from file or textbox', script_args: [false, false, 'start', 'one\ntwo\nthree', false] }
  ]) t.match(await run({ ...script, batch_size: 1 }, { on_difference: 'fail' }), { status: 'completed', warnings: [] })
})

t.test('a script without all arguments fails the job, because Forge does not add them', async t => {
  const job = await run({ script_name: 'X/Y/Z plot', script_args: [4, '1,2'] })
  t.match(job, { status: 'failed', error: { message: /missing 16 required positional arguments/ } })
})

t.test('floats stay floats on their way to extensions and scripts, and back', async t => {
  const freeU = { FreeU: { args: [true, 1.5, 1, 'w'] } }
  const body = JSON.stringify({
    target_server_alias: 'Forge', generation_params: { ...quick, seed: 5, alwayson_scripts: freeU }
  }).replace('[true,1.5,1,', '[true,1.0,1,')
  const answer = await service.request('POST', '/api/v2/generate', body)
  t.equal(answer.status, 202)
  await service.until(String(answer.body.job_id), 'completed')
  t.match(posted.at(-1), /"args":\[true,1\.0,1,"w"\]/)
  const dropIn = await fetch(`${service.url}/sdapi/v1/txt2img`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...quick, alwayson_scripts: freeU }).replace('[true,1.5,1,', '[true,1.0,1,')
  })
  const raw = await dropIn.text()
  t.match(posted.at(-1), /"args":\[true,1\.0,1,"w"\]/)
  t.match(raw, /"cfg_scale":7\.0,"distilled_cfg_scale":3\.5,/)
  t.match(raw, /"args":\[true,1\.0,1,"w"\]/)
  t.match(raw, /\\"cfg_scale\\":7\.0/, 'info as the server wrote it')
  const { parameters } = JSON.parse(raw) as { parameters: Record<string, unknown> }
  t.match(parameters, { hr_cfg: 1, hr_distilled_cfg: 3.5, hr_additional_modules: null })
})

t.test('clients of A1111 find the VAEs of Forge', async t => {
  const names = ((await service.request('GET', '/sdapi/v1/sd-vae')).body as unknown as Array<{ model_name: string }>)
    .map(({ model_name: name }) => name)
  t.same(names, ['vae-ft-mse-840000-ema-pruned.safetensors', 'sdxl_vae.safetensors'], 'and no text encoders')
})

t.test('all routes report the same end of a job', async t => {
  forge.setFaults([{ kind: 'slow', factor: 100 }])
  const id = await service.submit({ ...quick, steps: 20 }, { target_server_alias: 'Forge' })
  for (;;) {
    const job = await service.job(id)
    if (typeof job.estimated_time_remaining === 'number' && typeof job.step === 'number') {
      t.equal(job.estimated_time_remaining, job.eta_seconds)
      const until = (Date.parse(String(job.estimated_completion_time)) - Date.now()) / 1000
      t.ok(Math.abs(until - job.estimated_time_remaining) < 5, `${until} and ${job.estimated_time_remaining}`)
      break
    }
  }
  await service.request('POST', `/api/v2/jobs/${id}/cancel`)
  await service.until(id, 'cancelled')
})
