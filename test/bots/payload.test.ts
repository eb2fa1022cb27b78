import t, { type Test } from 'tap'
import { testImage, small, startBots, unselected, type BotService } from './studio.ts'

/** A kind of request and the exact body that a server gets for it; for Forge another one if it differs. */
interface Case {
  readonly what: string
  readonly route: string
  readonly request: Readonly<Record<string, unknown>>
  readonly path: string
  readonly a1111: Readonly<Record<string, unknown>>
  readonly forge?: Readonly<Record<string, unknown>>
}

/** The common fields of all requests for a minimal image. */
const least = {
  prompt: 'a lighthouse',
  negative_prompt: '',
  seed: 7,
  sampler_name: 'DPM++ 2M',
  scheduler: 'Karras',
  batch_size: 1,
  n_iter: 1,
  steps: 2,
  cfg_scale: 7,
  width: 64,
  height: 64
}
const image = await testImage(64, 64, '#a31')
const mask = await testImage(64, 64, '#fff')
const txt2img = '/sdapi/v1/txt2img'
const img2img = '/sdapi/v1/img2img'
const started = { ...least, init_images: [image], resize_mode: 0, denoising_strength: 0.7 }
const masked = {
  mask, mask_blur: 4, inpainting_fill: 1, inpaint_full_res: true, inpaint_full_res_padding: 0, inpainting_mask_invert: 0
}
const unit = {
  enabled: true,
  model: 'control_v11p_sd15_canny [d14c016b]',
  weight: 1,
  guidance_start: 0,
  guidance_end: 1,
  processor_res: 512,
  control_mode: 'Balanced',
  resize_mode: 'Crop and Resize',
  pixel_perfect: false,
  save_detected_map: true
}
const controlled = (...args: object[]) => ({ alwayson_scripts: { controlnet: { args } } })
const hires = { enable_hr: true, hr_scale: 1.5, hr_upscaler: 'R-ESRGAN 4x+', hr_second_pass_steps: 3, denoising_strength: 0.4 }
const vae = 'vae-ft-mse-840000-ema-pruned.safetensors'
const extras = {
  show_extras_results: false,
  imageList: [{ data: image, name: '0.png' }],
  gfpgan_visibility: 0,
  codeformer_visibility: 0,
  codeformer_weight: 0
}
const plot = [1, 'a', [], 0, '', [], 0, '', [], true, true, false, false, false, false, false, 0, false]
const hypertile = { Hypertile: { args: [true, 3] } }

const regions = { common_prompt: 'tavern', region1_prompt: 'r1', region2_prompt: 'r2', region3_prompt: 'r3', region4_prompt: 'r4' }
const layouts: ReadonlyArray<readonly [layout: string, text: string, mode: string, ratios: string]> = [
  ['vertical', 'r1 ADDCOL r2', 'Columns', '1,1'],
  ['horizontal', 'r1 ADDROW r2', 'Rows', '1,1'],
  ['three_columns', 'r1 ADDCOL r2 ADDCOL r3', 'Columns', '1,1,1'],
  ['four_columns', 'r1 ADDCOL r2 ADDCOL r3 ADDCOL r4', 'Columns', '1,1,1,1'],
  ['quadrants', 'r1 ADDCOL r2 ADDROW r3 ADDCOL r4', 'Columns', '1,1,1;1,1,1']
]

const cases: readonly Case[] = [
  { what: 'an image from words', route: 'txt2img', request: {}, path: txt2img, a1111: least },
  {
    what: 'everything that Forge calls otherwise',
    route: 'txt2img',
    request: { ...hires, checkpoint: 'anime-pastel', vae, cfg_scale: 5, batch_count: 2, batch_size: 3, sampler_name: 'DPM++ SDE Karras', clip_skip: 2 },
    path: txt2img,
    a1111: {
      ...least,
      ...hires,
      sampler_name: 'DPM++ SDE',
      cfg_scale: 5,
      n_iter: 2,
      batch_size: 3,
      override_settings: { CLIP_stop_at_last_layers: 2, sd_vae: vae, sd_model_checkpoint: 'anime-pastel.safetensors' },
      override_settings_restore_afterwards: true
    },
    forge: {
      hr_cfg: 5,
      hr_additional_modules: ['Use same choices'],
      override_settings: {
        CLIP_stop_at_last_layers: 2, forge_additional_modules: [vae], sd_model_checkpoint: 'anime-pastel.safetensors'
      }
    }
  },
  { what: 'an image from an image', route: 'img2img', request: { image }, path: img2img, a1111: started },
  { what: 'an inpainted part', route: 'inpaint', request: { image, mask }, path: img2img, a1111: { ...started, ...masked } },
  {
    what: 'a control map',
    route: 'controlnet',
    request: { image, controlnet_units: [{ model: 'control_v11p_sd15_canny', preprocessor: 'canny', control_mode: 2, threshold_a: 50 }] },
    path: txt2img,
    a1111: {
      ...least,
      ...controlled({ ...unit, module: 'canny', image, threshold_a: 50, threshold_b: 200, control_mode: 'ControlNet is more important' })
    }
  },
  {
    what: 'preprocessors under other names and with sliders of their own, beside an image to start from',
    route: 'controlnet',
    request: {
      image,
      init_image: image,
      mask,
      controlnet_units: [
        { model: 'control_v11p_sd15_canny', preprocessor: 'depth' }, { model: 'control_v11p_sd15_canny' },
        { model: 'control_v11p_sd15_canny', preprocessor: 'inpaint_only', resize_mode: 2 }
      ]
    },
    path: img2img,
    a1111: {
      ...least,
      init_images: [image],
      denoising_strength: 0.7,
      ...controlled({ ...unit, module: 'depth', image }, { ...unit, module: 'none', image },
        { ...unit, module: 'inpaint_only', image, mask_image: mask, resize_mode: 'Resize and Fill' })
    },
    forge: controlled({ ...unit, module: 'depth_midas', image }, { ...unit, module: 'None', image },
      { ...unit, module: 'inpaint_only', image, mask_image: mask, resize_mode: 'Resize and Fill' })
  },
  ...layouts.map(([layout, text, mode, ratios]): Case => ({
    what: `regions: ${layout}`,
    route: 'regional',
    request: { prompt: 'best', regional_config: { layout, ...regions } },
    path: txt2img,
    a1111: {
      ...least,
      prompt: `best, tavern ADDCOMM ${text}`,
      alwayson_scripts: {
        'regional prompter': {
          args: [
            true, false, 'Matrix', mode, 'Mask', 'Prompt', ratios, '0.2', false, true, false, 'Attention', true, '0', '0', '0.4', '',
            '0', '0', false
          ]
        }
      }
    }
  })),
  {
    what: 'an extended image',
    route: 'upscale',
    request: { image, scale: 3 },
    path: '/sdapi/v1/extra-batch-images',
    a1111: { ...extras, resize_mode: 0, upscaling_resize: 3, upscaler_1: 'R-ESRGAN 4x+' }
  },
  {
    what: 'an image of another size, by two upscalers, with better faces',
    route: 'upscale',
    request: { image, width: 100, height: 80, upscaler: 'lanczos', upscaler_2: 'Nearest', upscaler_2_visibility: 0.5, gfpgan_visibility: 0.3 },
    path: '/sdapi/v1/extra-batch-images',
    a1111: {
      ...extras,
      resize_mode: 1,
      upscaling_resize_w: 100,
      upscaling_resize_h: 80,
      upscaling_crop: true,
      upscaler_1: 'Lanczos',
      upscaler_2: 'Nearest',
      extras_upscaler_2_visibility: 0.5,
      gfpgan_visibility: 0.3
    }
  },
  {
    what: 'better faces',
    route: 'face-restore',
    request: { image, codeformer_weight: 0.5 },
    path: '/sdapi/v1/extra-batch-images',
    a1111: { ...extras, upscaler_1: 'None', upscaling_resize: 1, codeformer_visibility: 1, codeformer_weight: 0.5 }
  },
  {
    what: 'scripts of other extensions, one of them chosen',
    route: 'txt2img',
    request: { alwayson_scripts: hypertile, script_name: 'X/Y/Z plot', script_args: plot },
    path: txt2img,
    // Scripts can change settings by themselves.
    a1111: {
      ...least,
      alwayson_scripts: hypertile,
      script_name: 'x/y/z plot',
      script_args: plot,
      override_settings_restore_afterwards: true
    }
  }
]

for (const flavor of ['a1111', 'forge'] as const) {
  t.test(`${flavor} gets exactly this request`, async t => {
    // Forge has this one only as an extension by other authors.
    const scripts = flavor === 'forge' ? ['Hypertile'] : []
    const bots = await startBots(t, { simulator: { flavor, scripts } })
    for (const { what, route, request, path, ...bodies } of cases) {
      const { prompt, ...others } = small
      const isWork = path.endsWith('extra-batch-images')
      const made = await bots.generate(`/generate/${route}`, isWork ? { user_id: 'ann', ...request } : { ...others, prompt, ...request })
      t.equal(made.path, path, what)
      t.strictSame(unselected(made.asked), { ...bodies.a1111, ...flavor === 'forge' ? bodies.forge : {} }, what)
      t.equal(made.job.status, 'completed', what)
      t.strictSame(made.answer.warnings, [], what)
    }
    await outpainted(t, bots)
    await swept(t, bots)
  })
}

/** StableQueue extends the image itself, so only its size is predictable. */
async function outpainted (t: Test, bots: BotService): Promise<void> {
  const { asked, path } = await bots.generate('/generate/outpaint', { ...small, image, outpaint_pixels_left: 32 })
  const { init_images: images, mask: painted, ...body } = unselected(asked)
  t.equal(path, img2img)
  t.strictSame(body, {
    ...least,
    width: 96,
    denoising_strength: 0.7,
    resize_mode: 0,
    mask_blur: 8,
    inpainting_fill: 1,
    inpaint_full_res: false,
    inpaint_full_res_padding: 0,
    inpainting_mask_invert: 0
  })
  t.match([images, painted], [[/^iVBORw0KGgo/], /^iVBORw0KGgo/])
}

async function swept (t: Test, bots: BotService): Promise<void> {
  const { user_id: user, ...base } = small
  const before = bots.recorder.generations.length
  await bots.generate('/generate/batch', {
    user_id: user,
    base_request: base,
    variations: [{ prompt: 'a tower' }, {}],
    axes: [{ field: 'cfg_scale', values: [5, 9] }]
  })
  const bodies = bots.recorder.generations.slice(before).map(({ body }) => body)
  const own = (body: Readonly<Record<string, unknown>>) =>
    ({ ...unselected(body), force_task_id: typeof body.force_task_id })
  const sent = { force_task_id: 'string', send_images: true, save_images: false }
  t.strictSame(bodies.map(own), [['a tower', 5], ['a tower', 9], ['a lighthouse', 5], ['a lighthouse', 9]]
    .map(([prompt, cfg]) => ({ ...least, ...sent, prompt, cfg_scale: cfg })))
}
