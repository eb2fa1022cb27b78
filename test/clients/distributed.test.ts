import t from 'tap'
import { startService } from '../helper.ts'
import { secondPass } from './bodies.ts'
import {
  asking, basic, drawing, failNext, jsonOf, listsRead, opened, running, serverGone, type Fields, type Generation
} from './http.ts'

/**
 * stable-diffusion-webui-distributed: an A1111 that sends parts of its own batch to others. It always sends
 * credentials, "None:None" if none are set, and its request contains every field of its own generation.
 */
const service = await startService(t, { settings: { JOB_ATTEMPTS: '1' } })
await listsRead(service)
const ask = asking(service, basic('None:None'))

type Mode = 'txt2img' | 'img2img'

/** The serialized generation, including fields that are no parameters. */
const payload = (more: Fields = {}) => ({
  outpath_samples: 'outputs/txt2img-images',
  outpath_grids: 'outputs/txt2img-grids',
  prompt: 'a herd of cows',
  prompt_for_display: null,
  negative_prompt: '',
  styles: [],
  seed: 100,
  subseed: 200,
  subseed_strength: 0,
  seed_resize_from_h: 0,
  seed_resize_from_w: 0,
  seed_enable_extras: true,
  sampler_name: 'Euler a',
  sampler_index: 'Euler a',
  scheduler: 'Automatic',
  batch_size: 2,
  n_iter: 1,
  steps: 3,
  cfg_scale: 7,
  width: 64,
  height: 64,
  restore_faces: null,
  tiling: null,
  do_not_save_samples: false,
  do_not_save_grid: false,
  extra_generation_params: {},
  overlay_images: null,
  eta: null,
  do_not_reload_embeddings: false,
  denoising_strength: null,
  ddim_discretize: null,
  s_min_uncond: null,
  s_churn: null,
  s_tmax: 1e308,
  s_tmin: null,
  s_noise: null,
  override_settings: {},
  override_settings_restore_afterwards: true,
  sampler_noise_scheduler_override: null,
  is_using_inpainting_conditioning: false,
  disable_extra_networks: false,
  token_merging_ratio: 0,
  token_merging_ratio_hr: 0,
  refiner_checkpoint: null,
  refiner_switch_at: null,
  scripts: null,
  script_args_value: [],
  is_api: false,
  user: null,
  all_prompts: null,
  paste_to: null,
  comments: {},
  ...secondPass,
  force_task_id: null,
  latent_scale_mode: null,
  alwayson_scripts: {},
  ...more
})

/** Only 200 is success; any other status makes the worker lose its part of the batch. */
async function part (json: Fields, mode: Mode = 'txt2img'): Promise<Generation> {
  const response = await ask('POST', `/sdapi/v1/${mode}`, { json })
  const answer = await jsonOf<Generation & Fields>(response)
  if (response.status !== 200) throw new Error(`Code <${response.status}> ${JSON.stringify(answer)}`)
  return answer
}

/** How it adds the images to its own gallery. */
function injected ({ images, parameters, info }: Generation): Array<{ seed: number, subseed: number, text: string }> {
  const parsed = JSON.parse(info) as Record<'all_seeds' | 'all_subseeds', number[]> & Record<'seed' | 'subseed', number> &
    { infotexts: string[] }
  const many = Number(parameters.batch_size) * Number(parameters.n_iter) > 1
  return images.map((_, index) => ({
    seed: Number(many ? parsed.all_seeds[index] : parsed.seed),
    subseed: Number(many ? parsed.all_subseeds[index] : parsed.subseed),
    text: String(parsed.infotexts[index])
  }))
}

async function supportedScripts (): Promise<Record<Mode, string[]>> {
  const scripts: Record<Mode, string[]> = { txt2img: [], img2img: [] }
  for (const { name, is_alwayson: always, is_img2img: fromImage } of await jsonOf<Fields[]>(ask('GET', '/sdapi/v1/script-info'))) {
    if (name !== null && always === true) scripts[fromImage === true ? 'img2img' : 'txt2img'].push(String(name))
  }
  return scripts
}

t.test('is reachable, has models, scripts and memory', async t => {
  t.equal((await ask('GET', '/sdapi/v1/memory')).status, 200)
  t.match(await jsonOf(ask('GET', '/sdapi/v1/memory')), { cuda: { system: { free: Number, total: Number } } })
  const titles = (await jsonOf<Fields[]>(ask('GET', '/sdapi/v1/sd-models'))).map(({ title }) => title)
  t.ok(titles.length > 1)
  t.ok((await supportedScripts()).txt2img.includes('refiner'))
  for (const list of ['refresh-checkpoints', 'refresh-loras']) {
    t.equal((await ask('POST', `/sdapi/v1/${list}`)).status, 200, list)
  }
})

t.test('its benchmark: the same small request several times', async t => {
  for (let run = 0; run < 3; run++) {
    const json = { prompt: 'a herd of cows', negative_prompt: '', steps: 3, width: 64, height: 64, batch_size: 1 }
    t.equal((await part(json)).images.length, 1)
  }
})

t.test('its model and VAE are set, and each part generates the images of its own seeds', async t => {
  const options = { sd_model_checkpoint: 'anime-pastel.safetensors', sd_vae: 'Automatic' }
  t.equal((await ask('POST', '/sdapi/v1/options', { json: options })).status, 200)
  const [first, second] = await Promise.all([
    part(payload()),
    part(payload({ seed: 102, subseed: 202, alwayson_scripts: { refiner: { args: [false, '', 0.8] } } }))
  ])
  for (const [answer, seed] of [[first, 100], [second, 102]] as const) {
    for (const image of answer.images) t.strictSame(await opened(image), { format: 'png', width: 64, height: 64 })
    t.match(injected(answer), [0, 1].map(index =>
      ({ seed: seed + index, subseed: seed + 100 + index, text: new RegExp(`Seed: ${seed + index}, .*Model: anime-pastel`) })))
  }
  const { images } = await part(payload({ init_images: [`data:image/png;base64,${drawing}`], batch_size: 1 }), 'img2img')
  t.equal(images.length, 1)
})

t.test('an interrupted batch, and a failed one', async t => {
  service.simulator.setFaults([{ kind: 'slow', factor: 20, prompt: 'a long one' }])
  const long = part(payload({ prompt: 'a long one', steps: 150 }))
  await running(service, long)
  t.equal((await ask('POST', '/sdapi/v1/interrupt')).status, 200)
  t.ok(Array.isArray((await long).images))
  failNext(service)
  await t.rejects(part(payload()), /Code <500>/)
  await t.rejects(part(payload({ sampler_name: 'nope', sampler_index: 'nope' })), /Code <422>/)
  t.equal((await ask('POST', '/sdapi/v1/server-restart')).status, 403, 'nobody restarts the servers of all')
})

t.test('its models and scripts stay while the server is away', async t => {
  const scripts = await supportedScripts()
  await serverGone(service)
  t.strictSame(await supportedScripts(), scripts)
  t.ok((await jsonOf<Fields[]>(ask('GET', '/sdapi/v1/sd-models'))).length > 1)
})
