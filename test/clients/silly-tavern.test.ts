import t from 'tap'
import { onNotices, startService } from '../helper.ts'
import {
  asking, basic, failNext, jsonOf, listsRead, opened, running, serverGone, type Fields, type Generation
} from './http.ts'

/** SillyTavern: its server calls A1111; its page reads `data.images[0]` from that server's answer. */
const service = await startService(t, { settings: { JOB_ATTEMPTS: '1' } })
await listsRead(service)
const ask = asking(service, basic(''))

/** Its server passes a good answer on and turns every other into 500. */
async function passedOn (answer: Promise<Response>): Promise<{ status: number, data: Fields }> {
  try {
    const result = await answer
    if (!result.ok) throw new Error(await result.text())
    return { status: 200, data: await jsonOf(result) }
  } catch (error) {
    return { status: 500, data: { error: String(error) } }
  }
}

const payload = (more: Fields = {}) => ({
  url: service.url,
  auth: '',
  prompt: 'a tavern',
  negative_prompt: '',
  sampler_name: 'DPM++ 2M Karras',
  scheduler: 'normal',
  steps: 4,
  cfg_scale: 7,
  width: 64,
  height: 64,
  restore_faces: false,
  enable_hr: false,
  hr_upscaler: 'Latent',
  hr_scale: 1,
  denoising_strength: 0.7,
  hr_second_pass_steps: 0,
  override_settings: { CLIP_stop_at_last_layers: 1 },
  override_settings_restore_afterwards: true,
  clip_skip: 1,
  save_images: true,
  send_images: true,
  do_not_save_grid: false,
  do_not_save_samples: false,
  ...more
})
const generate = async (more?: Fields, signal?: AbortSignal) =>
  await passedOn(ask('POST', '/sdapi/v1/txt2img', { json: payload(more), ...(signal === undefined ? {} : { signal }) }))
const imageOf = (data: Fields) => (data as unknown as Generation).images[0]

async function lists () {
  const names = async (list: string, field: string) =>
    (await jsonOf<Fields[]>(ask('GET', `/sdapi/v1/${list}`))).map(entry => entry[field])
  const upscalers = await names('upscalers', 'name')
  upscalers.splice(1, 0, ...await names('latent-upscale-modes', 'name'))
  return {
    upscalers,
    vaes: await names('sd-vae', 'model_name'),
    samplers: await names('samplers', 'name'),
    schedulers: await names('schedulers', 'name'),
    models: await names('sd-models', 'title')
  }
}

t.test('connects, shows its lists, sets a model and waits until it is loaded', async t => {
  t.ok((await ask('GET', '/sdapi/v1/options')).ok, 'its ping')
  const { upscalers, ...others } = await lists()
  t.strictSame(upscalers.slice(0, 2), ['None', 'Latent'])
  for (const [name, values] of Object.entries(others)) t.ok(values.length > 0, name)
  const model = others.models[1]
  t.ok((await ask('POST', '/sdapi/v1/options', { json: { sd_model_checkpoint: model } })).ok)
  const { progress, state } = await jsonOf<{ progress: number, state: Fields }>(ask('GET', '/sdapi/v1/progress'))
  t.ok(progress === 0.0 && state.job_count === 0)
  t.equal((await jsonOf(ask('GET', '/sdapi/v1/options'))).sd_model_checkpoint, model)
})

t.test('generates, with a second pass and a VAE as well', async t => {
  const { status, data } = await generate()
  t.equal(status, 200)
  t.strictSame(await opened(imageOf(data)), { format: 'png', width: 64, height: 64 })
  const { vaes: [vae] } = await lists()
  const override = { CLIP_stop_at_last_layers: 2, sd_vae: vae }
  const larger = await generate({ enable_hr: true, hr_scale: 2, override_settings: override })
  t.strictSame(await opened(imageOf(larger.data)), { format: 'png', width: 128, height: 128 })
  t.match(JSON.parse(String(larger.data.info)), { clip_skip: 2, infotexts: [new RegExp(`VAE: ${String(vae)}`)] })
})

t.test('when the page is closed it interrupts and hangs up, and the job stops', async t => {
  service.simulator.setFaults([{ kind: 'slow', factor: 20, prompt: 'a long one' }])
  const controller = new AbortController()
  const long = generate({ prompt: 'a long one', steps: 150 }, controller.signal)
  await running(service, long)
  t.ok((await ask('POST', '/sdapi/v1/interrupt')).ok)
  controller.abort()
  t.equal((await long).status, 500, 'nobody reads it any more')
  await onNotices(service.services, async () => await service.services.list.count({ status: 'processing' }) === 0 || undefined)
  t.equal(service.simulator.state().generations.at(-1)?.interrupted, true)
})

t.test('a failure is 500 for its page, which then does not read images[0]', async t => {
  failNext(service)
  t.match(await generate(), { status: 500, data: { error: /shapes cannot be multiplied/ } })
  t.match(await generate({ sampler_name: 'nope' }), { status: 500, data: { error: /sampler/ } })
  t.match(await generate({ steps: 'many' }), { status: 500, data: { error: /steps/ } })
})

t.test('its lists stay while the server is away', async t => {
  const before = await lists()
  await serverGone(service)
  t.ok((await ask('GET', '/sdapi/v1/options')).ok)
  t.strictSame(await lists(), before)
})
