import t from 'tap'
import { startService } from '../helper.ts'
import {
  asking, drawing, failNext, jsonOf, listsRead, opened, serverGone, type Fields, type Generation
} from './http.ts'

/** The client of A1111_discord_bot: 200 is "completed" with `images` and the parsed `info`, all else "failed". */
const service = await startService(t, { settings: { JOB_ATTEMPTS: '1' } })
await listsRead(service)
const ask = asking(service)

interface Result { status: string, images?: string[], info?: Fields, error?: string }

async function process (type: string, payload: Fields): Promise<Result> {
  try {
    const route = ['img2img', 'controlnet'].includes(type) ? 'img2img' : 'txt2img'
    const response = await ask('POST', `/sdapi/v1/${route}`, { json: payload })
    if (response.status !== 200) return { status: 'failed', error: `HTTP ${response.status}: ${await response.text()}` }
    const { images, info } = await jsonOf<Partial<Generation>>(response)
    return { status: 'completed', images: images ?? [], info: JSON.parse(info ?? '{}') as Fields }
  } catch (error) {
    return { status: 'failed', error: String(error) }
  }
}

const payload = (more: Fields = {}) => ({
  prompt: 'a lighthouse <lora:film-grain:0.8>',
  negative_prompt: '',
  sampler_name: 'DPM++ 2M Karras',
  steps: 3,
  cfg_scale: 7,
  width: 64,
  height: 64,
  batch_count: 1,
  batch_size: 1,
  seed: -1,
  enable_hr: false,
  hr_scale: 2,
  denoising_strength: 0.7,
  ...more
})

async function models () {
  const names = async (list: string, field: string) =>
    (await jsonOf<Fields[]>(ask('GET', `/sdapi/v1/${list}`))).map(entry => entry[field])
  return {
    checkpoints: await names('sd-models', 'model_name'),
    vaes: await names('sd-vae', 'model_name'),
    samplers: await names('samplers', 'name'),
    upscalers: await names('upscalers', 'name'),
    loras: await names('loras', 'name')
  }
}

t.test('is online, and has models of every kind', async t => {
  t.equal((await ask('GET', '/sdapi/v1/options')).status, 200)
  for (const [name, values] of Object.entries(await models())) t.ok(values.length > 0, name)
  t.equal((await ask('GET', '/sdapi/v1/controlnet/model_list')).status, 404, 'its own mistake, as at A1111: no ControlNet')
})

t.test('each kind of job completes with its images', async t => {
  const { checkpoints, vaes } = await models()
  const drawn = await process('txt2img', payload({
    seed: 12,
    override_settings: { sd_model_checkpoint: checkpoints[2], sd_vae: vaes[0] },
    override_settings_restore_afterwards: true
  }))
  t.match(drawn, { status: 'completed', info: { seed: 12, sd_model_name: checkpoints[2] } })
  t.strictSame(await opened(drawn.images?.[0]), { format: 'png', width: 64, height: 64 })
  const hires = await process('txt2img', payload({ enable_hr: true, hr_upscaler: 'Latent', hr_second_pass_steps: 0 }))
  t.strictSame(await opened(hires.images?.[0]), { format: 'png', width: 128, height: 128 })
  const mask = { inpaint_full_res: true, inpaint_full_res_padding: 0, inpainting_mask_invert: 0 }
  const from = { init_images: [drawing], resize_mode: 0, ...mask }
  t.match(await process('img2img', payload(from)), { status: 'completed', images: [String] })
  const unit = {
    enabled: true,
    model: 'control_v11p_sd15_canny [d14c016b]',
    weight: 1,
    guidance_start: 0,
    guidance_end: 1,
    processor_res: 512,
    threshold_a: 100,
    threshold_b: 200,
    control_mode: 0,
    pixel_perfect: false,
    input_image: drawing,
    module: 'canny'
  }
  const guided = payload({ ...from, alwayson_scripts: { ControlNet: { args: [unit] } } })
  t.match(await process('controlnet', guided), { status: 'completed', images: [String] })
})

t.test('a failed job is failed, never "completed" without images', async t => {
  failNext(service)
  t.match(await process('txt2img', payload()), { status: 'failed', error: /^HTTP 500: .*shapes cannot be multiplied/ })
  t.match(await process('txt2img', payload({ sampler_name: 'nope' })), { status: 'failed', error: /^HTTP 422: .*sampler/ })
  t.match(await process('img2img', payload({ init_images: ['no picture'] })), { status: 'failed' })
  t.match(await process('txt2img', payload()), { status: 'completed', images: [String] })
})

t.test('its models stay while the server is away', async t => {
  const before = await models()
  await serverGone(service)
  t.equal((await ask('GET', '/sdapi/v1/options')).status, 200)
  t.strictSame(await models(), before)
})
