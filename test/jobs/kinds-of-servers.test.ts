import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startSimulator, type SimulatorOptions } from '../../src/simulator/simulator.ts'
import { quick, startService } from '../helper.ts'

async function start (options: SimulatorOptions) {
  const simulator = await startSimulator({ stepMilliseconds: 2, loadMilliseconds: 0, ...options })
  t.teardown(simulator.close)
  return simulator
}

const [forge, sdcpp, bare] = await Promise.all([
  start({ flavor: 'forge' }), start({ flavor: 'sdcpp', checkpoints: ['turbo.safetensors'] }), start({ internalProgress: false })
])
const service = await startService(t, { servers: { Forge: forge.url, Sdcpp: sdcpp.url, Bare: bare.url } })
const run = async (alias: string, parameters: object) =>
  await service.until(await service.submit({ ...quick, ...parameters }, { target_server_alias: alias }), 'completed', 'failed')

t.test('Forge gets its fields for hires fix, and VAEs as modules', async t => {
  const job = await run('Forge', {
    enable_hr: true, hr_scale: 2, denoising_strength: 0.5, override_settings: { sd_vae: 'sdxl_vae' }
  })
  t.match(job, { status: 'completed', warnings: [], images: [{ width: 128, height: 128 }] })
})

t.test('stable-diffusion.cpp gets all images as one batch and LoRAs beside the prompt', async t => {
  const job = await run('Sdcpp', { prompt: 'a lighthouse <lora:film-grain:0.5>', batch_size: 2, n_iter: 2, seed: 5 })
  t.match(job, { status: 'completed', warnings: [], images: [{ seed: 5 }, { seed: 6 }, { seed: 7 }, { seed: 8 }] })
  t.match(sdcpp.state().generations, [{ prompt: 'a lighthouse', imageCount: 4 }])
})

t.test('a job at stable-diffusion.cpp, which cannot be interrupted, is cancelled when the server has finished it', async t => {
  sdcpp.setFaults([{ kind: 'slow', factor: 20 }])
  const id = await service.submit({ ...quick, steps: 10 }, { target_server_alias: 'Sdcpp' })
  while (sdcpp.state().inFlight === 0) await sleep(5)
  t.equal((await service.request('POST', `/api/v2/jobs/${id}/cancel`)).status, 200)
  t.equal((await service.until(id, 'cancelled', 'completed')).status, 'cancelled')
  t.match(sdcpp.state().generations.at(-1), { outcome: 'done', interrupted: false })
})

t.test('a server without tasks shows progress too', async t => {
  const id = await service.submit({ ...quick, steps: 150 }, { target_server_alias: 'Bare' })
  t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
  t.notOk('POST /internal/progress' in bare.state().requests)
})

t.test('models that appear at a server are noticed without a request to StableQueue', async t => {
  const named = { checkpoint_name: 'quite-new.safetensors' }
  t.equal((await service.request('POST', '/api/v2/generate',
    { target_server_alias: 'Bare', generation_params: { ...quick, ...named } })).status, 422)
  bare.setCheckpoints(['quite-new.safetensors'])
  await fetch(`${bare.url}/sdapi/v1/refresh-checkpoints`, { method: 'POST' })
  const { id } = service.services.registry.require('Bare')
  const titles = async () => (await service.services.states.inventory(id))?.checkpoints.map(({ title }) => title)
  while ((await titles())?.some(title => title.startsWith('quite-new')) !== true) await sleep(50)
  t.match(await run('Bare', named), { status: 'completed', warnings: [] })
})
