import { HttpException, PythonError } from '../../fastapi/errors.ts'
import { type Model, strict } from '../../fastapi/model.ts'
import { controlTypes, findModule, models, type Module, modulesOf, unsupportedModules } from '../controlnet/lists.ts'
import { drawMap } from '../controlnet/units.ts'
import type { Family } from '../flavors.ts'
import { createBitmap, decodeImage, readBase64 } from '../images/pixels.ts'
import { encodePng } from '../images/png.ts'
import type { SimulatorSettings } from '../settings.ts'
import { get, post, type Route } from './route.ts'

const open = { access: 'open', runsIn: 'loop' } as const

/** Routes of the extension sd-webui-controlnet and of Forge's own: coroutines without auth. */
export function controlNetRoutes ({ family, controlNetUnits }: SimulatorSettings): Route[] {
  return family === 'forge' ? forgeRoutes() : a1111Routes(controlNetUnits)
}

function a1111Routes (unitCount: number): Route[] {
  const modules = modulesOf('a1111')
  return [
    get('/controlnet/version', () => ({ version: 3 }), open),
    get('/controlnet/model_list', () => ({ model_list: models }), {
      ...open, query: { update: strict('boolean', true) }
    }),
    get('/controlnet/module_list', ({ query }) => {
      const nameOf = ({ name, label }: Module): string => query.alias_names === true ? label : name
      return {
        module_list: modules.map(nameOf),
        module_detail: Object.fromEntries(modules.map(module =>
          [nameOf(module), { model_free: module.modelFree, sliders: module.sliders }]))
      }
    }, { ...open, query: { alias_names: strict('boolean', false) } }),
    get('/controlnet/control_types', () => ({ control_types: controlTypes('a1111') }), open),
    get('/controlnet/settings', () => ({ control_net_unit_count: unitCount }), open),
    post('/controlnet/detect', async ({ body }) => await detect(body, 'a1111'), { ...open, body: detectModel }),
    post('/controlnet/render_openpose_json', async ({ json }) => await renderPoses(json), { ...open, body: 'any' })
  ]
}

/** Fewer, and lists that begin with "None". */
function forgeRoutes (): Route[] {
  return [
    get('/controlnet/model_list', () => ({ model_list: ['None', ...models] }), open),
    get('/controlnet/module_list', () => ({ module_list: modulesOf('forge').map(({ label }) => label) }), open),
    get('/controlnet/control_types', () => ({ control_types: controlTypes('forge') }), open),
    post('/controlnet/detect', async ({ body }) => await detect(body, 'forge'), { ...open, body: forgeDetectModel })
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

/** Without masks, and with numbers that are used as they are. */
const forgeDetectModel: Model = {
  // there is no module of this name
  controlnet_module: strict('string', 'none'),
  controlnet_input_images: strict('strings', []),
  controlnet_processor_res: strict('integer', 512),
  controlnet_threshold_a: strict('number', 64),
  controlnet_threshold_b: strict('number', 64)
}

async function detect (body: Readonly<Record<string, unknown>>, family: Family): Promise<Record<string, unknown>> {
  const wanted = String(body.controlnet_module)
  const module = findModule(family, wanted)
  if (module === undefined) throw new HttpException(422, 'Module not available')
  if (unsupportedModules.includes(wanted)) throw new HttpException(422, 'Module not supported')
  const sources = body.controlnet_input_images as string[]
  if (sources.length === 0) throw new HttpException(422, 'No image selected')
  if (family === 'forge' && Number(body.controlnet_processor_res) < 1) {
    throw new PythonError('error', 'OpenCV: (-215:Assertion failed) inv_scale_x > 0 in function \'resize\'')
  }
  const masks = Array.isArray(body.controlnet_masks) ? body.controlnet_masks : []
  if (family !== 'forge' && module.needsMask && masks.length === 0) {
    throw new HttpException(422, `Preprocessor ${wanted} requires \`controlnet_masks\` param.`)
  }
  const images: string[] = []
  for (const source of sources) {
    const map = drawMap(await decodeImage(readBase64(source)), module.label)
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
    const picture = createBitmap(Number(pose.canvas_width) || 512, Number(pose.canvas_height) || 512)
    images.push((await encodePng(picture)).toString('base64'))
  }
  return { images, info: 'Success' }
}
