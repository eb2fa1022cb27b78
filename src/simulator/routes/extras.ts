import type { Sharp } from 'sharp'
import { forgeAdditions, readPastedParameters } from '../../a1111/pasted-parameters.ts'
import { HttpException, missingArguments, PythonError, ValidationFailure } from '../../fastapi/errors.ts'
import { type Dialect, type Model, readModel, required, strict } from '../../fastapi/model.ts'
import { pydantic1 } from '../../fastapi/pydantic1.ts'
import { pydantic2 } from '../../fastapi/pydantic2.ts'
import sharp from '../../lib/sharp.ts'
import { floor8 } from '../generation/plan.ts'
import { readSource } from '../images/fetch.ts'
import { decodeImage, type Bitmap } from '../images/pixels.ts'
import { encodePng, readImageText } from '../images/png.ts'
import { upscalersOf } from '../lists/files.ts'
import type { ServerProcess } from '../server-process.ts'
import { beginJob, endJob } from '../state.ts'
import { wait } from '../timing.ts'
import { post, type Route } from './route.ts'

const share = { atLeast: 0, atMost: 1 }

const upscaleModel: Model = {
  resize_mode: { kind: 'choice', fallback: 0, nullable: false, required: false, choices: [0, 1] },
  show_extras_results: strict('boolean', true),
  gfpgan_visibility: strict('number', 0, share),
  codeformer_visibility: strict('number', 0, share),
  codeformer_weight: strict('number', 0, share),
  upscaling_resize: strict('number', 2, { above: 0 }),
  upscaling_resize_w: strict('integer', 512, { atLeast: 1 }),
  upscaling_resize_h: strict('integer', 512, { atLeast: 1 }),
  upscaling_crop: strict('boolean', true),
  upscaler_1: strict('string', 'None'),
  upscaler_2: strict('string', 'None'),
  extras_upscaler_2_visibility: strict('number', 0, share),
  upscale_first: strict('boolean', false)
}

/** Upscaling, reading infotexts and describing images. */
export function extrasRoutes (server: ServerProcess): Route[] {
  const isForge = server.machine.settings.family === 'forge'
  const dialect = isForge ? pydantic2 : pydantic1
  return [
    post('/sdapi/v1/extra-single-image', async ({ body }) => {
      const { images, html } = await runExtras(server, body, [String(body.image)])
      return { html_info: html, image: images[0] }
    }, { body: { ...upscaleModel, image: strict('string', '') } }),
    post('/sdapi/v1/extra-batch-images', async ({ body }) => {
      const files = (body.imageList as unknown[]).map((file, index) => readFile(dialect, file, index))
      const { images, html } = await runExtras(server, body, files.map(file => String(file.data)))
      return { html_info: html, images }
    }, { body: { ...upscaleModel, imageList: required('list') } }),
    post('/sdapi/v1/png-info', async ({ body }) => {
      const bytes = await readSource(server.options, String(body.image).trim())
      await decodeImage(bytes)
      const { infotext, items } = await readImageText(bytes)
      return { info: infotext, items, parameters: readPastedParameters(infotext, isForge ? forgeAdditions : {}) }
    }, { body: { image: required('string') } }),
    post('/sdapi/v1/interrogate', async ({ body }) => await interrogate(server, body), {
      body: { image: strict('string', ''), model: strict('string', 'clip') }
    }),
    ...['create/embedding', 'create/hypernetwork', 'train/embedding', 'train/hypernetwork'].map(path =>
      post(`/sdapi/v1/${path}`, ({ body }) => {
        if (isForge) createAtForge(path, body)
        return { info: `${path.replace('/', ' ')} is only simulated` }
      }, { body: 'object' }))
  ]
}

/** Its models are built in a way that these two routes never learned. @throws PythonError */
function createAtForge (path: string, body: Readonly<Record<string, unknown>>): never {
  if (path === 'create/hypernetwork') throw new PythonError('NameError', "name 'create_hypernetwork' is not defined")
  const needed = ['name', 'num_vectors_per_token', 'overwrite_old']
  const unknown = Object.keys(body).find(key => ![...needed, 'init_text'].includes(key))
  if (unknown !== undefined) {
    throw new PythonError('TypeError', `create_embedding() got an unexpected keyword argument '${unknown}'`)
  }
  const missing = needed.filter(name => !Object.hasOwn(body, name))
  if (missing.length > 0) throw missingArguments('create_embedding', missing)
  throw new PythonError('TypeError', "'NoneType' object is not callable")
}

/** @throws ValidationFailure that says which file it is */
function readFile (dialect: Dialect, file: unknown, index: number): Record<string, unknown> {
  try {
    return readModel(dialect, fileModel, file)
  } catch (error) {
    if (!(error instanceof ValidationFailure)) throw error
    throw new ValidationFailure(error.details.map(detail =>
      ({ ...detail, loc: ['body', 'imageList', index, ...(detail.loc as unknown[]).slice(1)] })))
  }
}

const fileModel: Model = { data: required('string'), name: required('string') }

async function runExtras (
  server: ServerProcess, body: Readonly<Record<string, unknown>>, sources: readonly string[]
): Promise<{ images: string[], html: string }> {
  const images: Buffer[] = []
  for (const source of sources) images.push(await readSource(server.options, source))
  for (const image of images) await decodeImage(image)
  const upscaler = String(body.upscaler_1)
  const loads = !server.machine.faults.drawOther('cannot-load')
  return await server.jobLock.run(async () => {
    beginJob(server.state, 'extras')
    try {
      checkUpscalers(server, body)
      await wait(server.timing.step({ width: 512, height: 512, batch: images.length, order: 1 }), server.life)
      const results: string[] = []
      for (const image of images) results.push((await upscale(image, body, { upscaler, loads })).toString('base64'))
      return { images: results, html: `<p>${describe(body, upscaler)}</p>` }
    } finally {
      endJob(server.state)
    }
  })
}

/** The second one matters only beside a first one. @throws PythonError */
function checkUpscalers ({ machine }: ServerProcess, body: Readonly<Record<string, unknown>>): void {
  const named = body.upscaler_1 === 'None' ? [] : [String(body.upscaler_1), String(body.upscaler_2)]
  const known = upscalersOf(machine.settings.family)
  const missing = named.find(name => !known.some(one => one.name === name))
  if (missing !== undefined) throw new PythonError('AssertionError', `could not find upscaler named ${missing}`)
}

/** A model that cannot be loaded leaves the picture as it is, merely resized. */
async function upscale (
  image: Buffer, body: Readonly<Record<string, unknown>>, { upscaler, loads }: { upscaler: string, loads: boolean }
): Promise<Buffer> {
  const input = await decodeImage(image)
  const enlarged = upscaler === 'None'
    ? input
    : await enlarge(input, body, loads && !['Lanczos', 'Nearest'].includes(upscaler))
  const restores = Number(body.gfpgan_visibility) > 0 || Number(body.codeformer_visibility) > 0
  return await encodePng(restores && loads ? await sharpened(enlarged) : enlarged)
}

/** To a factor or a size; what is cut to a size loses its edges. */
async function enlarge (input: Bitmap, body: Readonly<Record<string, unknown>>, isByModel: boolean): Promise<Bitmap> {
  const isToSize = body.resize_mode === 1
  const asked = { width: Number(body.upscaling_resize_w), height: Number(body.upscaling_resize_h) }
  const factor = isToSize
    ? Math.max(asked.width / input.width, asked.height / input.height)
    : Number(body.upscaling_resize)
  const size = { width: Math.max(8, floor8(input.width * factor)), height: Math.max(8, floor8(input.height * factor)) }
  const resized = { ...size, data: await raw(input).resize({ ...size, fit: 'fill' }).raw().toBuffer() }
  const enlarged = isByModel ? await sharpened(resized) : resized
  if (!isToSize || body.upscaling_crop === false) return enlarged
  const left = Math.floor(asked.width / 2) - Math.floor(size.width / 2)
  const top = Math.floor(asked.height / 2) - Math.floor(size.height / 2)
  const kept = { width: Math.min(size.width, asked.width), height: Math.min(size.height, asked.height) }
  const data = await raw(enlarged).extract({ left: Math.max(0, -left), top: Math.max(0, -top), ...kept }).extend({
    left: Math.max(0, left),
    top: Math.max(0, top),
    right: asked.width - kept.width - Math.max(0, left),
    bottom: asked.height - kept.height - Math.max(0, top),
    background: 'black'
  }).raw().toBuffer()
  return { ...asked, data }
}

/** What a model makes of a picture. */
async function sharpened (bitmap: Bitmap): Promise<Bitmap> {
  return { ...bitmap, data: await raw(bitmap).sharpen({ sigma: 2, m1: 6, m2: 6 }).raw().toBuffer() }
}

function raw ({ data, width, height }: Bitmap): Sharp {
  return sharp(data, { raw: { width, height, channels: 3 } })
}

function describe (body: Readonly<Record<string, unknown>>, upscaler: string): string {
  if (upscaler === 'None') return ''
  const factor = Number(body.upscaling_resize)
  const by = Number.isInteger(factor) ? factor.toFixed(1) : String(factor)
  const size = body.resize_mode === 1
    ? `Postprocess upscale to: ${Number(body.upscaling_resize_w)}x${Number(body.upscaling_resize_h)}`
    : `Postprocess upscale by: ${by}`
  return `${size}, Postprocess upscaler: ${upscaler}`
}

async function interrogate (
  server: ServerProcess, body: Readonly<Record<string, unknown>>
): Promise<{ caption: string }> {
  const bytes = await readSource(server.options, String(body.image))
  const { width, height } = await decodeImage(bytes)
  return await server.jobLock.run(async () => {
    const orientation = width > height ? 'wide' : 'tall'
    if (body.model === 'clip') return { caption: `a ${orientation} painting of mountains under a clear sky` }
    if (body.model === 'deepdanbooru') return { caption: `landscape, mountain, no humans, outdoors, sky, ${orientation} image` }
    throw new HttpException(404, 'Model not found')
  })
}
