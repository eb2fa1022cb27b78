import sharp from 'sharp'
import { HttpException } from '../failures.ts'
import type { Family } from '../flavors.ts'
import { loraPreviews } from '../lists/loras.ts'
import { latentUpscaleModes, upscalersOf } from '../lists/upscalers.ts'
import { optional } from '../wire/fields.ts'
import { createAnswer, get, type Route } from './route.ts'

/**
 * The bits of the gradio page by which clients such as the Photoshop plugin notice that the server runs, and the
 * pictures beside models that the page shows.
 */
export function interfaceRoutes (family: Family): Route[] {
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
