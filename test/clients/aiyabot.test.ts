import t from 'tap'
import { startService } from '../helper.ts'
import {
  asking, drawing, failNext, jsonOf, listsRead, opened, running, serverGone, type Fields, type Generation
} from './http.ts'

/** aiyabot, a Discord bot: reads its lists once at its start, and sends "None" for each option without a choice. */
const service = await startService(t, { settings: { JOB_ATTEMPTS: '1' } })
await listsRead(service)
const ask = asking(service)
const list = async (name: string) => await jsonOf<Fields[]>(ask('GET', `/sdapi/v1/${name}`))

/** A user's command with every option at its default. */
const request = (more: Fields = {}) => ({
  prompt: 'a lighthouse',
  negative_prompt: '',
  steps: 5,
  width: 64,
  height: 64,
  cfg_scale: 7,
  sampler_index: 'Euler a',
  seed: 4242,
  seed_resize_from_h: -1,
  seed_resize_from_w: -1,
  denoising_strength: null,
  n_iter: 1,
  batch_size: 1,
  styles: ['None'],
  override_settings: { CLIP_stop_at_last_layers: 1 },
  ...more
})
const draw = async (more?: Fields, route = 'txt2img') =>
  await jsonOf<Generation>(ask('POST', `/sdapi/v1/${route}`, { json: request(more) }))

/** Its start, which reads the lists and the components of the page. */
async function choices () {
  const { loaded, skipped } = await jsonOf<Record<string, Record<string, Fields>>>(ask('GET', '/sdapi/v1/embeddings'))
  const { components } = await jsonOf<{ components: Array<{ props?: { elem_id?: string, choices?: string[] } }> }>(
    ask('GET', '/config'))
  const hires = components.filter(({ props }) => props?.elem_id === 'txt2img_hr_upscaler').at(-1)?.props?.choices
  return {
    samplers: (await list('samplers')).map(({ name }) => name),
    styles: (await list('prompt-styles')).map(({ name, prompt, negative_prompt: negative }) => [name, prompt, negative]),
    upstream: (await list('face-restorers')).map(({ name }) => name),
    hypernetworks: (await list('hypernetworks')).map(({ name }) => name),
    upscalers: (await list('upscalers')).map(({ name }) => name),
    loras: (await list('loras')).map(({ alias }) => alias),
    embeddings: Object.entries({ ...loaded, ...skipped })
      .filter(([, { shape }]) => shape === 768).map(([name]) => name),
    models: (await list('sd-models')).map(({ title, model_name: name, filename, hash }) => [title, name, filename, hash]),
    hires: ['Disabled', ...hires ?? []]
  }
}

t.test('its start: whether the server answers, is SD.Next, and needs a login', async t => {
  t.equal((await ask('GET', '/sdapi/v1/cmd-flags')).status, 200, 'neither 401 nor 404')
  t.ok((await ask('HEAD', '/')).status < 500)
  t.notOk('app' in await jsonOf(ask('GET', '/sdapi/v1/version')), 'only SD.Next has this route')
  t.equal((await ask('GET', '/config')).status, 200, 'no login')
  await (await ask('POST', '/login')).arrayBuffer()
})

t.test('its start: every list has choices, those of the second pass from the page', async t => {
  const { hires, hypernetworks, ...others } = await choices()
  for (const [name, values] of Object.entries(others)) t.ok(values.length > 0, name)
  t.strictSame(hypernetworks, [])
  t.ok(hires.includes('Latent'), String(hires))
  t.ok(hires.includes('R-ESRGAN 4x+'))
})

t.test('an image with all its defaults, and its text read back from the image', async t => {
  const { images } = await draw()
  t.equal(images.length, 1)
  t.strictSame(await opened(images[0]), { format: 'png', width: 64, height: 64 })
  const read = await jsonOf(ask('POST', '/sdapi/v1/png-info', { json: { image: `data:image/png;base64,${images[0] ?? ''}` } }))
  t.match(read.info, /^a lighthouse\nSteps: 5, Sampler: Euler a.*Seed: 4242/)
})

t.test('a chosen model, a style, a batch, the second pass, a face model, a start image', async t => {
  const [model] = (await choices()).models.slice(1)
  t.equal(await jsonOf<unknown>(ask('POST', '/sdapi/v1/options', { json: { sd_model_checkpoint: model?.[0] } })), null)
  const styled = await draw({ styles: ['Cinematic'] })
  t.match(JSON.parse(styled.info), { sd_model_name: model?.[1], prompt: /lighthouse, / })
  t.equal((await draw({ n_iter: 2, batch_size: 2 })).images.length, 4)
  const second = { enable_hr: true, hr_upscaler: 'Latent', hr_scale: 1, hr_second_pass_steps: 5 / 2, denoising_strength: 0.75 }
  t.equal((await draw(second)).images.length, 1, 'half a step is no fault to A1111')
  const face = { restore_faces: true, override_settings: { CLIP_stop_at_last_layers: 2, face_restoration_model: 'CodeFormer' } }
  t.match(JSON.parse((await draw(face)).info), { clip_skip: 2 })
  const from = { init_images: [`data:image/png;base64,${drawing}`], denoising_strength: 0.75 }
  t.equal((await draw(from, 'img2img')).images.length, 1)
})

t.test('progress during a generation, and its button that interrupts', async t => {
  service.simulator.setFaults([{ kind: 'slow', factor: 20, prompt: 'a long one' }])
  const long = draw({ prompt: 'a long one', steps: 100 })
  await running(service, long)
  const seen = await jsonOf<{ state: { job: string } }>(ask('GET', '/sdapi/v1/progress'))
  t.type(seen.state.job, 'string')
  await ask('POST', '/sdapi/v1/interrupt')
  t.ok(Array.isArray((await long).images))
  const idle = await jsonOf<{ state: { job: string } }>(ask('GET', '/sdapi/v1/progress'))
  t.equal(idle.state.job, '', 'by this it knows that nothing runs')
})

t.test('its commands upscale and identify', async t => {
  const image = `data:image/png;base64,${drawing}`
  const larger = await jsonOf(ask('POST', '/sdapi/v1/extra-single-image', {
    json: { upscaling_resize: 2, upscaler_1: 'Lanczos', image, gfpgan_visibility: 0, codeformer_visibility: 0, upscale_first: false }
  }))
  t.match(await opened(String(larger.image)), { width: 128, height: 128 })
  t.type((await jsonOf(ask('POST', '/sdapi/v1/interrogate', { json: { image, model: 'clip' } }))).caption, 'string')
})

t.test('a failure has no images, by which the bot recognizes it', async t => {
  failNext(service)
  const failed = await jsonOf(ask('POST', '/sdapi/v1/txt2img', { json: request() }))
  t.notOk('images' in failed)
  t.match(failed, { error: String })
})

t.test('after a start while the server is away it has the same choices', async t => {
  const before = await choices()
  await serverGone(service)
  t.strictSame(await choices(), before)
})
