import { freemem, totalmem } from 'node:os'
import { sdnextSamplers } from '../../a1111/sampler-defaults.ts'
import { HttpException, PythonError } from '../../fastapi/errors.ts'
import { type Model, optional, strict } from '../../fastapi/model.ts'
import { noteFloat } from '../../lib/exact-json.ts'
import sharp from '../../lib/sharp.ts'
import { controlTypes, findModule, models, type Module, modulesOf, unsupportedModules } from '../controlnet/lists.ts'
import { drawMap } from '../controlnet/units.ts'
import { type Family, profiles } from '../flavors.ts'
import { createBitmap, decodeImage, readBase64 } from '../images/pixels.ts'
import { encodePng } from '../images/png.ts'
import { commandFlags } from '../lists/command-flags.ts'
import {
  controlNetExtension, embeddings, faceRestorers, forgeStyles, latentUpscaleModes, modules, promptStyles,
  realEsrganModels, regionalPrompterExtension, upscalersOf, vaes
} from '../lists/files.ts'
import { listLoras, listManyLoras, loraPreviews } from '../lists/loras.ts'
import { describeScripts, scriptTitles } from '../lists/scripts.ts'
import { describeProgress, describeTaskProgress } from '../progress.ts'
import {
  becomeUnloaded, loadCheckpoint, previewOptions, selectedCheckpoint, type ServerProcess
} from '../server-process.ts'
import type { SimulatorSettings } from '../settings.ts'
import { extrasRoutes } from './extras.ts'
import { generationRoutes } from './generation.ts'
import { createAnswer, get, post, type Route } from './route.ts'
import { sdcppRoutes } from './sdcpp.ts'

const open = { access: 'open', runsIn: 'loop' } as const

/** Routes of the extension sd-webui-controlnet and of Forge's own: coroutines without auth. */
function controlNetRoutes ({ family, controlNetUnits }: SimulatorSettings): Route[] {
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
    const bitmap = createBitmap(Number(pose.canvas_width) || 512, Number(pose.canvas_height) || 512)
    images.push((await encodePng(bitmap)).toString('base64'))
  }
  return { images, info: 'Success' }
}

/** Progress, interrupt, skip, and routes that load or reload checkpoints. */
function controlRoutes (server: ServerProcess): Route[] {
  const { state, machine, memory } = server
  const underLock = (work: () => void) => async (): Promise<null> => {
    await server.jobLock.run(async () => { work() })
    return null
  }
  const nothingToRead = underLock(() => undefined)

  return [
    get('/sdapi/v1/progress', async ({ query }) => await describeProgress(
      memory.frozenState ?? state, previewOptions(server), { skipCurrentImage: query.skip_current_image === true }
    ), { query: { skip_current_image: strict('boolean', false) } }),
    post('/sdapi/v1/interrupt', () => {
      machine.records.countInterrupt()
      state.interrupted = true
      return {}
    }),
    post('/sdapi/v1/skip', () => {
      state.skipped = true
      return null
    }),
    post('/sdapi/v1/unload-checkpoint', () => {
      becomeUnloaded(server)
      return {}
    }),
    post('/sdapi/v1/reload-checkpoint', async () => {
      if (machine.settings.flavor === 'a1111') await loadCheckpoint(server, selectedCheckpoint(server))
      return {}
    }),
    post('/sdapi/v1/refresh-checkpoints', underLock(() => { server.checkpoints.refresh(machine.disk.checkpoints) })),
    post('/sdapi/v1/refresh-vae', nothingToRead),
    post('/sdapi/v1/refresh-embeddings', nothingToRead)
  ]
}

/**
 * The parts of the gradio page by which clients such as the Photoshop plugin detect the server, and the previews of
 * models on the page.
 */
function interfaceRoutes (family: Family): Route[] {
  const components = componentsOf(upscalersOf(family).map(({ name }) => name))
  return [
    get('/', () => createAnswer(200, 'text/html; charset=utf-8', page)),
    get('/user', () => null),
    get('/config', () => ({ version: '3.41.2', mode: 'blocks', dev_mode: false, title: 'Stable Diffusion', components })),
    get('/app_id', () => ({ app_id: 20_260_101 })),
    get('/sd_extra_networks/thumb', async ({ query }) => {
      if (!loraPreviews.has(String(query.filename))) throw new HttpException(404, 'File not found')
      const grey = { width: 64, height: 64, channels: 3, background: '#777' } as const
      return createAnswer(200, 'image/png', await sharp({ create: grey }).png().toBuffer())
    }, { query: { filename: optional('string') } })
  ]
}

/** Of the hundreds of components of the page, the ones by which clients learn the upscalers. */
function componentsOf (upscalers: readonly string[]): Array<Record<string, unknown>> {
  return [
    dropDown(1, 'txt2img_hr_upscaler', [...latentUpscaleModes, ...upscalers]),
    dropDown(2, 'extras_upscaler_1', upscalers),
    dropDown(3, 'extras_upscaler_2', upscalers)
  ]
}

function dropDown (id: number, elementId: string, choices: readonly string[]): Record<string, unknown> {
  return { id, type: 'dropdown', props: { choices, value: choices[0], elem_id: elementId, visible: true, name: 'dropdown' } }
}

const page = '<!doctype html><html><head><title>Stable Diffusion</title></head>' +
  '<body><h1>StableQueue simulator</h1><p>Its interface is the API under <code>/sdapi/v1</code>; ' +
  'what it does and what can be broken shows <code>/simulator/state</code>.</p></body></html>'

/** Routes of the user interface, which are there unless it is off, and never guarded. */
function internalRoutes (server: ServerProcess): Route[] {
  const { state, tasks, memory } = server
  // pydantic 2 takes no null for a text, though null is its default
  const task = server.machine.settings.family === 'forge' ? strict('string', null) : optional('string')
  return [
    post('/internal/progress', async ({ body }) => await describeTaskProgress(memory.frozenState ?? state, tasks, previewOptions(server), {
      task: typeof body.id_task === 'string' ? body.id_task : null,
      shownPreview: Number(body.id_live_preview),
      withPreview: body.live_preview === true
    }), {
      body: { id_task: task, id_live_preview: strict('integer', -1), live_preview: strict('boolean', true) }
    }),
    get('/internal/pending-tasks', () => ({ size: tasks.pending().length, tasks: tasks.pending() })),
    get('/internal/ping', () => ({})),
    get('/internal/profile-startup', () => ({ total: 9.4, records: { initialize: 6.1, 'create ui': 3.3 } })),
    get('/internal/sysinfo', () => ({ Platform: 'Linux', Version: '1.10.1', Commandline: ['launch.py', '--api'] })),
    get('/internal/sysinfo-download', () => ({ Platform: 'Linux', Version: '1.10.1', Commandline: ['launch.py', '--api'] })),
    get('/internal/quicksettings-hint', () => Object.keys(server.options.all()).map(name => ({ name, label: name })))
  ]
}

/** Everything that a client can list. */
function listRoutes (server: ServerProcess): Route[] {
  const { machine, lists, checkpoints } = server
  const isForge = machine.settings.family === 'forge'
  const list = (name: string, content: () => unknown): Route => get(`/sdapi/v1/${name}`, content)
  const names = (mode: 'txt2img' | 'img2img'): string[] => {
    const { selectable, alwaysOn } = scriptTitles(mode, machine.settings)
    return [...selectable, ...alwaysOn]
  }

  return [
    list('samplers', () => lists.samplers),
    list('schedulers', () => lists.schedulers.map(one => withFloats(one, 'default_rho'))),
    list('upscalers', () => upscalersOf(machine.settings.family).map(one => withFloats(one, 'scale'))),
    list('latent-upscale-modes', () => latentUpscaleModes.map(name => ({ name }))),
    list('sd-models', () => checkpoints.describe()),
    isForge ? list('sd-modules', () => modules) : list('sd-vae', () => vaes),
    list('hypernetworks', () => []),
    list('face-restorers', () => faceRestorers),
    list('realesrgan-models', () => realEsrganModels),
    list('prompt-styles', () => isForge ? forgeStyles : promptStyles),
    list('embeddings', () => embeddings),
    list('scripts', () => ({ txt2img: names('txt2img'), img2img: names('img2img') })),
    list('script-info', () => describeScripts(server)),
    list('extensions', () => [
      // Forge's own ControlNet has no repository of its own
      ...machine.settings.controlNet && !isForge ? [controlNetExtension] : [],
      ...machine.settings.regionalPrompter ? [regionalPrompterExtension] : []
    ]),
    list('memory', () => machine.settings.cuda ? memory() : { ...memory(), cuda: { error: 'unavailable' } }),
    // the Lora extension registers these two itself, as coroutines and without auth
    get('/sdapi/v1/loras', () => machine.disk.manyLoras === null
      ? listLoras(machine.disk.seenLoras)
      : createAnswer(200, 'application/json', listManyLoras(machine.disk.manyLoras)), { access: 'open', runsIn: 'loop' }),
    post('/sdapi/v1/refresh-loras', () => {
      machine.disk.seenLoras = machine.disk.loras
      return null
    }, { access: 'open', runsIn: 'loop' })
  ]
}

const gibibyte = 1024 ** 3

/** The copy, in which this number is a float. */
function withFloats<Entry extends object> (entry: Entry, name: keyof Entry & string): Entry {
  const copy = { ...entry }
  noteFloat(copy, name)
  return copy
}

function memory (): Record<string, unknown> {
  const usage = (current: number, peak: number): Record<string, number> => ({ current, peak })
  return {
    ram: { free: freemem(), used: process.memoryUsage.rss(), total: totalmem() },
    cuda: {
      system: { free: 5 * gibibyte, used: 3 * gibibyte, total: 8 * gibibyte },
      active: usage(2.2 * gibibyte, 3.1 * gibibyte),
      allocated: usage(2.2 * gibibyte, 3.1 * gibibyte),
      reserved: usage(2.6 * gibibyte, 3.6 * gibibyte),
      inactive: usage(0.1 * gibibyte, 0.4 * gibibyte),
      events: { retries: 0, oom: 0 }
    }
  }
}

/** GET and POST /sdapi/v1/options, and the flags that the server was started with. */
function optionRoutes (server: ServerProcess): Route[] {
  const { options, checkpoints, machine } = server
  return [
    get('/sdapi/v1/options', () => options.all()),
    post('/sdapi/v1/options', async ({ body }) => {
      const wanted = body.sd_model_checkpoint
      if (wanted != null && checkpoints.find(wanted) === undefined) {
        throw new PythonError('RuntimeError', `model '${String(wanted)}' not found`)
      }
      const before = options.get('sd_model_checkpoint')
      const set = machine.settings.family === 'forge' ? options.setAny : options.set
      for (const [key, value] of Object.entries(body)) set(key, value)
      // the selection changes at once, the load waits for the job lock; Forge leaves it to the next generation
      const isLoad = 'sd_model_checkpoint' in body && wanted !== before && machine.settings.family !== 'forge'
      if (isLoad) await server.jobLock.run(async () => { await loadCheckpoint(server, selectedCheckpoint(server)) })
      options.save()
      return null
    }, { body: 'object' }),
    // A1111 shows the password in clear here
    get('/sdapi/v1/cmd-flags', () => {
      // its own flags do not fit the model of its answer
      if (machine.settings.flavor === 'forge') throw new PythonError('ResponseValidationError', '')
      return {
        ...commandFlags,
        api_auth: machine.auth,
        port: machine.settings.port === 0 ? null : String(machine.settings.port),
        nowebui: !machine.settings.internalProgress
      }
    })
  ]
}

/** Routes that answer with nothing at all. */
const silent = new Set([
  'interrupt', 'skip', 'unload-checkpoint', 'reload-checkpoint', 'refresh-checkpoints', 'refresh-vae'
])

/** SD.Next's variants of A1111's routes, and its own. */
function sdnextRoutes (server: ServerProcess, others: readonly Route[]): Route[] {
  const base = others.map(route => {
    const name = route.path.replace('/sdapi/v1/', '')
    if (silent.has(name)) return { ...route, handle: silently(route.handle) }
    return route.path === '/internal/progress' ? { ...route, handle: withStatus(server, route.handle) } : route
  })
  const own = [
    get('/sdapi/v1/samplers', () => sdnextSamplers.slice(1).map(({ name, options }) => ({ name, options }))),
    // one of its own entries does not fit the model of its answer
    get('/sdapi/v1/schedulers', () => { throw new PythonError('ResponseValidationError', '1 validation error') }),
    get('/sdapi/v1/embeddings', () => ({
      loaded: Object.keys(embeddings.loaded), skipped: Object.keys(embeddings.skipped)
    })),
    get('/sdapi/v1/version', () => ({ app: 'sd.next', updated: '2026-07-23', commit: '058a7f0c', branch: 'master' })),
    get('/sdapi/v1/history', ({ query }) => server.history.filter(({ id }) => query.id === null || query.id === id), {
      query: { id: optional('string') }
    })
  ]
  const replaced = new Set(own.map(({ path }) => path))
  return [...base.filter(({ path }) => !replaced.has(path)), ...own]
}

function silently (handle: Route['handle']): Route['handle'] {
  return async input => {
    await handle(input)
    return createAnswer(204, 'application/json', '')
  }
}

function withStatus ({ state }: ServerProcess, handle: Route['handle']): Route['handle'] {
  return async input => ({
    job: state.job, paused: false, debug: false, batch_no: 0, batch_count: 0, ...await handle(input) as object
  })
}

/** The routes of the simulated server, by its flavour and its start flags. */
export function serverRoutes (server: ServerProcess): Route[] {
  const { settings } = server.machine
  if (settings.family === 'sdcpp') return sdcppRoutes(server)
  const { lacks } = profiles[settings.flavor]
  const routes = [
    ...generationRoutes(server),
    ...controlRoutes(server),
    ...optionRoutes(server),
    ...listRoutes(server),
    ...extrasRoutes(server),
    ...settings.controlNet && settings.flavor !== 'sdnext' ? controlNetRoutes(settings) : [],
    ...settings.internalProgress ? [...internalRoutes(server), ...interfaceRoutes(settings.family)] : []
  ].filter(({ path }) => !lacks.some(name => path === `/sdapi/v1/${name}`))
  return settings.flavor === 'sdnext' ? sdnextRoutes(server, routes) : routes
}
