import { detectEdges } from '../controlnet/detect.ts'
import { controlTypes, models, modules, unsupportedModules } from '../controlnet/lists.ts'
import { HttpException } from '../failures.ts'
import { decodeImage, readBase64 } from '../images/decode.ts'
import { encodePng } from '../images/png.ts'
import { createPicture } from '../images/pixels.ts'
import { strict, type Model } from '../wire/fields.ts'
import { get, post, type Route } from './route.ts'

/** Routes of the extension sd-webui-controlnet: coroutines without auth. */
export function controlNetRoutes (): Route[] {
  const open = { access: 'open', runsIn: 'loop' } as const
  return [
    get('/controlnet/version', () => ({ version: 3 }), open),
    get('/controlnet/model_list', () => ({ model_list: models }), {
      ...open, query: { update: strict('boolean', true) }
    }),
    get('/controlnet/module_list', () => ({
      module_list: modules.map(module => module.name),
      module_detail: Object.fromEntries(modules.map(({ name, modelFree, sliders }) => [
        name, { model_free: modelFree, sliders }
      ]))
    }), { ...open, query: { alias_names: strict('boolean', false) } }),
    get('/controlnet/control_types', () => ({ control_types: controlTypes() }), open),
    get('/controlnet/settings', () => ({ control_net_unit_count: 3 }), open),
    post('/controlnet/detect', async ({ body }) => await detect(body), { ...open, body: detectModel }),
    post('/controlnet/render_openpose_json', async ({ json }) => await renderPoses(json), { ...open, body: 'any' })
  ]
}

const detectModel: Model = {
  controlnet_module: strict('string', 'none'),
  controlnet_input_images: strict('strings', []),
  controlnet_processor_res: strict('integer', -1),
  controlnet_threshold_a: strict('number', -1),
  controlnet_threshold_b: strict('number', -1),
  controlnet_masks: strict('strings', []),
  low_vram: strict('boolean', false)
}

async function detect (body: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
  const wanted = String(body.controlnet_module)
  const module = modules.find(one => one.name === wanted)
  if (module === undefined) throw new HttpException(422, 'Module not available')
  if (unsupportedModules.includes(wanted)) throw new HttpException(422, 'Module not supported')
  const sources = body.controlnet_input_images as string[]
  if (sources.length === 0) throw new HttpException(422, 'No image selected')
  const images: string[] = []
  for (const source of sources) {
    const map = detectEdges(await decodeImage(readBase64(source)))
    images.push((await encodePng(map)).toString('base64'))
  }
  if (!wanted.includes('openpose')) return { info: 'Success', images }
  const poses = sources.map(() => ({ people: [], canvas_width: 512, canvas_height: 512 }))
  return { info: 'Success', poses, images }
}

async function renderPoses (body: unknown): Promise<Record<string, unknown>> {
  if (!Array.isArray(body) || body.length === 0) return { info: 'No pose data detected.' }
  const images: string[] = []
  for (const pose of body as Array<Record<string, unknown>>) {
    const picture = createPicture(Number(pose.canvas_width) || 512, Number(pose.canvas_height) || 512)
    images.push((await encodePng(picture)).toString('base64'))
  }
  return { images, info: 'Success' }
}
