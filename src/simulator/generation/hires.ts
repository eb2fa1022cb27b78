import { requireLoosely } from '../checkpoints.ts'
import { PythonError } from '../failures.ts'
import { latentUpscaleModes, upscalersOf } from '../lists/upscalers.ts'
import type { ServerProcess } from '../server-process.ts'
import type { GenerationRequest } from './request.ts'

/** The second pass of txt2img. */
export interface HiresPlan {
  readonly width: number
  readonly height: number
  readonly steps: number
}

/**
 * Resolves `enable_hr` and what belongs to it, and notes it among the extra parameters; null without it.
 *
 * @throws PythonError for an unknown upscaler or checkpoint, or without `denoising_strength`
 */
export function planHires (
  server: ServerProcess, request: GenerationRequest, extra: Record<string, unknown>
): HiresPlan | null {
  if (request.enable_hr !== true) return null
  if (request.hr_checkpoint_name && request.hr_checkpoint_name !== 'Use same checkpoint') {
    const file = requireLoosely(server.checkpoints, request.hr_checkpoint_name)
    extra['Hires checkpoint'] = server.checkpoints.title(file)
  }
  if (request.hr_sampler_name && request.hr_sampler_name !== request.sampler_name) {
    extra['Hires sampler'] = request.hr_sampler_name
  }
  const upscaler = request.hr_upscaler ?? null
  const isKnown = upscaler === null || latentUpscaleModes.includes(upscaler) ||
    upscalersOf(server.machine.settings.family).some(one => one.name === upscaler)
  if (!isKnown) throw new PythonError('Exception', `could not find upscaler named ${upscaler}`)
  if (server.machine.settings.family === 'forge' && request.hr_additional_modules == null) {
    throw new PythonError('TypeError', "argument of type 'NoneType' is not iterable")
  }
  if (request.denoising_strength === null) {
    throw new PythonError('TypeError', "'<' not supported between instances of 'NoneType' and 'float'")
  }
  const size = targetSize(request)
  Object.assign(extra, {
    'Denoising strength': request.denoising_strength,
    'Hires prompt': request.hr_prompt || null,
    'Hires negative prompt': request.hr_negative_prompt || null,
    'Hires schedule type': null,
    ...size.note
  })
  if (request.hr_second_pass_steps) extra['Hires steps'] = request.hr_second_pass_steps
  if (upscaler !== null) extra['Hires upscaler'] = upscaler
  return {
    width: Math.floor(size.width / 8) * 8,
    height: Math.floor(size.height / 8) * 8,
    steps: request.hr_second_pass_steps || request.steps
  }
}

function targetSize (request: GenerationRequest): { width: number, height: number, note: Record<string, unknown> } {
  const { width, height } = request
  const scale = request.hr_scale ?? 2
  const [x, y] = [request.hr_resize_x ?? 0, request.hr_resize_y ?? 0]
  if (x === 0 && y === 0) {
    return { width: Math.trunc(width * scale), height: Math.trunc(height * scale), note: { 'Hires upscale': scale } }
  }
  return {
    width: x || Math.trunc(width * y / height),
    height: y || Math.trunc(height * x / width),
    note: { 'Hires resize': `${x}x${y}` }
  }
}
