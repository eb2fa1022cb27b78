import type { CheckpointFile } from '../checkpoints.ts'
import { HttpException } from '../../fastapi/errors.ts'
import { generationModel, type GenerationRequest, type Mode } from '../../a1111/request-model.ts'
import { listLoras } from '../lists/loras.ts'
import { latentUpscaleModes, upscalers } from '../lists/files.ts'
import type { ServerProcess } from '../server-process.ts'
import { pydantic1 } from '../../fastapi/pydantic1.ts'
import { noBody, readModel } from '../../fastapi/model.ts'
import { answerGeneration } from './generation.ts'
import { get, post, type Route } from './route.ts'

const samplerNames = [
  'default', 'euler', 'euler_a', 'heun', 'dpm2', 'dpm++2s_a', 'dpm++2m', 'dpm++2mv2', 'ipndm', 'ipndm_v', 'lcm',
  'ddim_trailing', 'tcd'
]
const schedulerNames = [
  'default', 'discrete', 'normal', 'karras', 'exponential', 'ays', 'gits', 'sgm_uniform', 'simple', 'smoothstep'
]

/** A1111's names for a sampler that sd.cpp also understands. */
const samplerAliases: Readonly<Record<string, string>> = {
  'euler a': 'euler_a', k_euler_a: 'euler_a', k_euler: 'euler', k_heun: 'heun', 'dpm++ 2m': 'dpm++2m', k_dpmpp_2m: 'dpm++2m'
}

/**
 * The few routes of stable-diffusion.cpp's server: one model for good, no progress, no interrupt, nothing that
 * reloads anything.
 */
export function sdcppRoutes (server: ServerProcess): Route[] {
  const file = server.memory.loaded as CheckpointFile
  const list = (name: string, content: unknown): Route =>
    get(`/sdapi/v1/${name}`, () => content, { access: 'open', runsIn: 'loop' })
  const generation = (mode: Mode): Route => post(`/sdapi/v1/${mode}`, async input => {
    const body = readJson(input.json)
    const request = readRequest(body, mode)
    return await answerGeneration(server, mode, { ...input, body: { ...request } }, {
      parameters: body,
      describe: info => describe(info, request, mode)
    })
  }, { access: 'open', runsIn: 'loop', body: 'any' })

  return [
    generation('txt2img'),
    generation('img2img'),
    list('loras', listLoras(server.machine.settings.loras).map(({ name, path }) => ({ name, path }))),
    list('upscalers', upscalers.filter(one => ['None', 'Lanczos', 'Nearest'].includes(one.name))),
    list('latent-upscale-modes', latentUpscaleModes.map(name => ({ name }))),
    list('samplers', samplerNames.map(name => ({ name, aliases: [name], options: {} }))),
    list('schedulers', schedulerNames.map(name => ({ name, label: name }))),
    list('sd-models', [{
      title: file.shortName,
      model_name: file.shortName,
      filename: file.name,
      hash: '8'.repeat(10),
      sha256: '8'.repeat(64),
      config: null
    }]),
    list('options', { samples_format: 'png', sd_model_checkpoint: file.shortName })
  ]
}

/** Types that sd.cpp insists on; a wrong one is its 500, whose text comes from its JSON library. */
const types: Readonly<Record<string, 'number' | 'string'>> = {
  prompt: 'string',
  negative_prompt: 'string',
  width: 'number',
  height: 'number',
  steps: 'number',
  cfg_scale: 'number',
  seed: 'number',
  batch_size: 'number',
  sampler_name: 'string',
  scheduler: 'string'
}

function readJson (json: unknown): Record<string, unknown> {
  if (json === noBody) throw new HttpException(400, 'empty body')
  if (typeof json !== 'object' || json === null) throw new Error('[json.exception.parse_error.101] parse error')
  return { ...json }
}

function readRequest (body: Readonly<Record<string, unknown>>, mode: Mode): GenerationRequest {
  for (const [name, type] of Object.entries(types)) {
    const value = body[name]
    const given = value === null ? 'null' : typeof value
    if (value === undefined || given === type) continue
    throw new Error(`[json.exception.type_error.302] type must be ${type}, but is ${given}`)
  }
  if (Number(body.width ?? 512) <= 0 || Number(body.height ?? 512) <= 0) {
    throw new HttpException(400, 'width and height must be positive')
  }
  if (body.prompt === undefined || body.prompt === '') throw new HttpException(400, 'prompt required')
  const known = Object.fromEntries(Object.keys(types).filter(name => name in body).map(name => [name, body[name]]))
  const fields = readModel(pydantic1, generationModel(mode, 'a1111'), {
    steps: 20,
    ...known,
    ...mode === 'txt2img' && { enable_hr: body.enable_hr ?? false, hr_scale: body.hr_scale ?? 2 },
    ...mode === 'img2img' && { init_images: body.init_images ?? [], mask: body.mask ?? null },
    ...typeof body.denoising_strength === 'number' && { denoising_strength: body.denoising_strength }
  })
  return fields as unknown as GenerationRequest
}

/** The part of A1111's `info` that sd.cpp has, under its own sampler names. */
function describe (
  info: Readonly<Record<string, unknown>>, request: GenerationRequest, mode: Mode
): Record<string, unknown> {
  const wanted = (request.sampler_name ?? '').toLowerCase()
  const sampler = samplerNames.includes(wanted) && wanted !== 'default' ? wanted : samplerAliases[wanted] ?? 'euler_a'
  const kept = [
    'prompt', 'negative_prompt', 'seed', 'cfg_scale', 'width', 'height', 'steps', 'sd_model_name', 'infotexts',
    'all_prompts', 'all_negative_prompts', 'all_seeds', ...mode === 'img2img' ? ['denoising_strength'] : []
  ]
  const part = Object.fromEntries(kept.map(name => [name, info[name]]))
  return {
    ...part,
    sampler_name: sampler,
    extra_generation_params: { 'Schedule type': request.scheduler ?? 'discrete' },
    version: 'stable-diffusion.cpp'
  }
}
